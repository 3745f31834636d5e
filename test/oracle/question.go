package main

import (
	"encoding/json"
	"net/netip"
	"path"
	"slices"
)

// Question is a signing request and all facts that the verdict on it rests on.
type Question struct {
	Request           []byte              `json:"request"`
	Usages            []string            `json:"usages"`
	ExpirationSeconds *int                `json:"expirationSeconds"`
	Username          string              `json:"username"`
	Extra             map[string][]string `json:"extra"`
	Pod               *Pod                `json:"pod"`
	Services          []Service           `json:"services"`
	Nodes             []Node              `json:"nodes"`
	// Of all namespaces, by address.
	ClusterIPs   map[string]string `json:"clusterIPs"`
	ServiceCIDRs []netip.Prefix    `json:"serviceCIDRs"`
	Policy       Policy            `json:"policy"`
	// What the CA permits; nothing: everything.
	CA            *Permitted `json:"ca"`
	ClusterDomain string     `json:"clusterDomain"`
	TrustDomain   string     `json:"trustDomain"`
}

type Pod struct {
	Namespace      string            `json:"namespace"`
	Name           string            `json:"name"`
	UID            string            `json:"uid"`
	ServiceAccount string            `json:"serviceAccount"`
	NodeName       string            `json:"nodeName"`
	Phase          string            `json:"phase"`
	Terminating    bool              `json:"terminating"`
	Mirror         bool              `json:"mirror"`
	HostNetwork    bool              `json:"hostNetwork"`
	IPs            []netip.Addr      `json:"ips"`
	Hostname       string            `json:"hostname"`
	Subdomain      string            `json:"subdomain"`
	Labels         map[string]string `json:"labels"`
}

type Service struct {
	Name         string            `json:"name"`
	Selector     map[string]string `json:"selector"`
	ClusterIPs   []netip.Addr      `json:"clusterIPs"`
	Headless     bool              `json:"headless"`
	ExternalName bool              `json:"externalName"`
	Deleting     bool              `json:"deleting"`
}

type Node struct {
	Name      string         `json:"name"`
	Addresses []netip.Addr   `json:"addresses"`
	PodCIDRs  []netip.Prefix `json:"podCIDRs"`
}

type Permitted struct {
	DNS []string `json:"dns"`
	URI []string `json:"uri"`
}

type Policy struct {
	Defaults   Allowance `json:"defaults"`
	Namespaces []struct {
		Names   []string        `json:"names"`
		Changes json.RawMessage `json:"changes"`
	} `json:"namespaces"`
	MaximumNames int `json:"maximumNames"`
}

type Allowance struct {
	NameForms      []string       `json:"nameForms"`
	DNSSuffixes    []string       `json:"dnsSuffixes"`
	Wildcards      bool           `json:"wildcards"`
	ExtraAddresses []netip.Prefix `json:"extraAddresses"`
	Addresses      string         `json:"addresses"`
	HostNetwork    bool           `json:"hostNetwork"`
	KeyAlgorithms  []string       `json:"keyAlgorithms"`
	Usages         []string       `json:"usages"`
	MaximumSeconds int            `json:"maximumSeconds"`
	Services       []Holding      `json:"services"`
}

type Holding struct {
	Name            string   `json:"name"`
	ServiceAccounts []string `json:"serviceAccounts"`
	WhileUnselected bool     `json:"whileUnselected"`
}

// in gives what holds in one namespace: later rules win, setting by setting.
func (policy Policy) in(namespace string) Allowance {
	allowance := policy.Defaults
	for _, rule := range policy.Namespaces {
		names := func(pattern string) bool {
			found, _ := path.Match(pattern, namespace)
			return found
		}
		if slices.ContainsFunc(rule.Names, names) {
			var changes Allowance = allowance
			if err := json.Unmarshal(rule.Changes, &changes); err != nil {
				panic(err)
			}
			allowance = changes
		}
	}
	return allowance
}
