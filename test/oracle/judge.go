package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// judge says whether the request may be approved now, and which of its names stand against it.
func judge(question *Question, request *x509.CertificateRequest) (refused []string, err error) {
	problems := []error{onlyOneBlock(question.Request)}
	content, contentErr := read(request)
	claim, claimErr := claimOf(question)
	allowance := question.Policy.in(claim.namespace)
	problems = append(problems,
		contentErr, claimErr,
		keyProblem(request, allowance.KeyAlgorithms),
		subjectProblem(request),
		usageProblem(question, allowance, request, content),
	)
	names := append(append(slices.Clone(request.DNSNames), texts(content.addresses)...), content.uris...)
	if len(names) == 0 || len(names) > question.Policy.MaximumNames {
		problems = append(problems, errors.New("none or too many names"))
	}
	if hasDoubles(request.DNSNames) || hasDoubles(texts(content.addresses)) || hasDoubles(content.uris) {
		problems = append(problems, errors.New("a name twice"))
	}
	if claimErr == nil {
		pod := &asking{question, claim, allowance}
		refused = pod.refuses(request.DNSNames, content.addresses, content.uris)
	}
	for _, name := range refused {
		problems = append(problems, fmt.Errorf("%q is not the pod's", name))
	}
	return refused, errors.Join(problems...)
}

func hasDoubles(names []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names)
}

func texts(addresses []netip.Addr) []string {
	var all []string
	for _, address := range addresses {
		all = append(all, address.String())
	}
	return all
}

// claim is what a token that is bound to a pod says.
type claim struct{ namespace, serviceAccount string }

// claimOf gives what the token says, when the pod that it is bound to bears it out.
func claimOf(question *Question) (claim, error) {
	parts := strings.Split(question.Username, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" || parts[2] == "" || parts[3] == "" {
		return claim{}, errors.New("no service account")
	}
	said := claim{parts[2], parts[3]}
	claimed := func(name string) []string { return question.Extra["authentication.kubernetes.io/"+name] }
	pod, nodes := question.Pod, claimed("node-name")
	switch {
	case len(claimed("pod-name")) != 1 || len(claimed("pod-uid")) != 1 || len(nodes) > 1:
		return said, errors.New("not bound to one pod")
	case pod == nil || pod.Name != claimed("pod-name")[0] || pod.UID != claimed("pod-uid")[0]:
		return said, errors.New("no such pod")
	case pod.Terminating || pod.Phase != "Pending" && pod.Phase != "Running":
		return said, errors.New("the pod is not alive")
	case pod.Mirror:
		return said, errors.New("a mirror pod")
	case pod.ServiceAccount != said.serviceAccount:
		return said, errors.New("another service account")
	case pod.NodeName == "" || len(nodes) == 1 && nodes[0] != pod.NodeName:
		return said, errors.New("another node, or none")
	}
	return said, nil
}

// asking is a live pod that asks, and what is allowed to it.
type asking struct {
	*Question
	claim
	Allowance
}

func (pod *asking) refuses(dnsNames []string, addresses []netip.Addr, uris []string) []string {
	var refused []string
	own := pod.names()
	for _, name := range dnsNames {
		if !isHostName(name) || !slices.Contains(own, name) && !pod.isExtra(name) || !pod.caPermits(name) {
			refused = append(refused, name)
		}
	}
	for _, address := range addresses {
		if !pod.mayHave(address, true) {
			refused = append(refused, address.String())
		}
	}
	for _, uri := range uris {
		identity := fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", pod.TrustDomain, pod.namespace, pod.serviceAccount)
		if uri != identity || pod.CA != nil && !slices.Contains(pod.CA.URI, pod.TrustDomain) {
			refused = append(refused, uri)
		}
	}
	return refused
}

// holds says whether the pod may act as the Service.
func (pod *asking) holds(service Service) bool {
	given, own, always := false, false, false
	for _, holding := range pod.Allowance.Services {
		if holding.Name == service.Name {
			given = true
			if slices.Contains(holding.ServiceAccounts, pod.serviceAccount) {
				own = true
				always = always || holding.WhileUnselected
			}
		}
	}
	if given && !own || service.ExternalName || service.Deleting {
		return false
	}
	selected := len(service.Selector) > 0
	for label, value := range service.Selector {
		has, ok := pod.Pod.Labels[label]
		selected = selected && ok && has == value
	}
	return selected || always
}

// names are those that no other namespace can also earn, and the forms that policy gives.
func (pod *asking) names() []string {
	gives := func(form string) bool { return slices.Contains(pod.NameForms, form) }
	lies := pod.namespace == "svc" || slices.Contains(strings.Split(pod.ClusterDomain, "."), pod.namespace)
	var names []string
	for _, service := range pod.Question.Services {
		if !pod.holds(service) {
			continue
		}
		short := service.Name + "." + pod.namespace
		full := []string{short + ".svc", short + ".svc." + pod.ClusterDomain}
		names = append(names, full...)
		if pod.Pod.Hostname != "" && pod.Pod.Subdomain == service.Name && service.Headless {
			names = append(names, pod.Pod.Hostname+"."+full[0], pod.Pod.Hostname+"."+full[1])
		}
		if gives("svc.ns") && !lies {
			names = append(names, short)
		}
		if gives("svc") && !lies {
			names = append(names, service.Name)
		}
	}
	for _, address := range pod.Pod.IPs {
		if gives("pod") && pod.mayHave(address, false) {
			names = append(names, dashes(address)+"."+pod.namespace+".pod."+pod.ClusterDomain)
		}
	}
	return names
}

// dashes writes an address as CoreDNS does in the names of pods.
func dashes(address netip.Addr) string {
	text := strings.NewReplacer(".", "-", ":", "-").Replace(address.String())
	if strings.HasPrefix(text, "-") {
		text = "0" + text
	}
	if strings.HasSuffix(text, "-") {
		text += "0"
	}
	return text
}

func (pod *asking) isExtra(name string) bool {
	rest, wildcard := strings.CutPrefix(name, "*.")
	if wildcard && !pod.Wildcards {
		return false
	}
	return slices.ContainsFunc(pod.DNSSuffixes, func(suffix string) bool {
		return rest == suffix || strings.HasSuffix(rest, "."+suffix)
	})
}

func (pod *asking) caPermits(name string) bool {
	return pod.CA == nil || slices.ContainsFunc(pod.CA.DNS, func(base string) bool {
		return name == base || strings.HasSuffix(name, "."+base)
	})
}

var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::ffff:0:0/96"),
}

// mayHave says whether the address is the pod's own or that of a Service of its own, and nobody else's.
func (pod *asking) mayHave(address netip.Addr, extras bool) bool {
	contains := func(prefix netip.Prefix) bool { return prefix.Contains(address) }
	if address.Is4In6() || address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() ||
		address.IsUnspecified() || slices.ContainsFunc(special, contains) {
		return false
	}
	isExtra := extras && slices.ContainsFunc(pod.ExtraAddresses, contains)
	for _, service := range pod.Question.Services {
		if pod.holds(service) && slices.Contains(service.ClusterIPs, address) {
			return isExtra || pod.Addresses != "none"
		}
	}
	_, isClusterIP := pod.ClusterIPs[address.String()]
	if isClusterIP || slices.ContainsFunc(pod.ServiceCIDRs, contains) {
		return false
	}
	if isExtra {
		return true
	}
	if pod.Addresses == "none" || !slices.Contains(pod.Pod.IPs, address) {
		return false
	}
	// What another node calls its own, or gives to its pods, is left alone: one of the two is lying.
	onOwnNode, inOwnRange, onOther, inOtherRange := false, false, false, false
	for _, node := range pod.Nodes {
		has, gives := slices.Contains(node.Addresses, address), slices.ContainsFunc(node.PodCIDRs, contains)
		if node.Name == pod.Pod.NodeName {
			onOwnNode, inOwnRange = has, gives
		} else {
			onOther, inOtherRange = onOther || has, inOtherRange || gives
		}
	}
	if pod.Pod.HostNetwork {
		return pod.HostNetwork && onOwnNode && !onOther
	}
	return !onOwnNode && !onOther && (pod.Addresses != "podCIDRs" || inOwnRange && !inOtherRange)
}
