package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// content is what stands in the certification request and is not lost by Go's parser.
type content struct {
	addresses  []netip.Addr
	uris       []string
	extensions []extension
}

type extension struct {
	id    string
	value []byte
}

var (
	idExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	idCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}
)

const (
	idKeyUsage         = "2.5.29.15"
	idSubjectAltName   = "2.5.29.17"
	idBasicConstraints = "2.5.29.19"
	idExtendedKeyUsage = "2.5.29.37"
)

// members are those of a constructed element; Go's decoder reads only minimal and definite lengths.
func members(bytes []byte, class, tag, count int) ([]asn1.RawValue, error) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(bytes, &outer)
	if err != nil || len(rest) > 0 || outer.Class != class || outer.Tag != tag || !outer.IsCompound {
		return nil, fmt.Errorf("no element %d/%d (%v)", class, tag, err)
	}
	var all []asn1.RawValue
	for rest := outer.Bytes; len(rest) > 0; {
		var member asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &member); err != nil {
			return nil, err
		}
		all = append(all, member)
	}
	if count >= 0 && len(all) != count {
		return nil, fmt.Errorf("%d members, not %d", len(all), count)
	}
	return all, nil
}

func sequence(bytes []byte, count int) ([]asn1.RawValue, error) {
	return members(bytes, asn1.ClassUniversal, asn1.TagSequence, count)
}

// read takes the request apart to its last byte.
func read(request *x509.CertificateRequest) (result content, err error) {
	if _, err = sequence(request.Raw, 3); err != nil {
		return result, err
	}
	info, err := sequence(request.RawTBSCertificateRequest, 4)
	if err != nil {
		return result, err
	}
	if !bytes.Equal(info[0].FullBytes, []byte{2, 1, 0}) {
		return result, errors.New("not version 0")
	}
	key, err := sequence(info[2].FullBytes, 2)
	if err != nil {
		return result, err
	}
	if _, err = sequence(key[0].FullBytes, -1); err != nil {
		return result, err
	}
	attributes, err := members(info[3].FullBytes, asn1.ClassContextSpecific, 0, 1)
	if err != nil {
		return result, err
	}
	attribute, err := sequence(attributes[0].FullBytes, 2)
	if err != nil {
		return result, err
	}
	var id asn1.ObjectIdentifier
	if _, err = asn1.Unmarshal(attribute[0].FullBytes, &id); err != nil || !id.Equal(idExtensionRequest) {
		return result, errors.New("not extensionRequest")
	}
	values, err := members(attribute[1].FullBytes, asn1.ClassUniversal, asn1.TagSet, 1)
	if err != nil {
		return result, err
	}
	all, err := sequence(values[0].FullBytes, -1)
	if err != nil {
		return result, err
	}
	for _, each := range all {
		if err = result.addExtension(each.FullBytes); err != nil {
			return result, err
		}
	}
	return result, nil
}

func (result *content) addExtension(raw []byte) error {
	parts, err := sequence(raw, -1)
	if err != nil || len(parts) < 2 || len(parts) > 3 {
		return errors.New("an extension of other parts")
	}
	if len(parts) == 3 && !bytes.Equal(parts[1].FullBytes, []byte{1, 1, 0xff}) {
		return errors.New("an extension with another flag than critical")
	}
	var id asn1.ObjectIdentifier
	var value []byte
	if _, err = asn1.Unmarshal(parts[0].FullBytes, &id); err != nil {
		return err
	}
	if _, err = asn1.Unmarshal(parts[len(parts)-1].FullBytes, &value); err != nil {
		return err
	}
	for _, other := range result.extensions {
		if other.id == id.String() {
			return errors.New("an extension twice")
		}
	}
	result.extensions = append(result.extensions, extension{id.String(), value})
	if id.String() != idSubjectAltName {
		return nil
	}
	names, err := sequence(value, -1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Class != asn1.ClassContextSpecific || name.IsCompound {
			return errors.New("another kind of name")
		}
		switch name.Tag {
		case 2:
		case 6:
			result.uris = append(result.uris, string(name.Bytes))
		case 7:
			address, ok := netip.AddrFromSlice(name.Bytes)
			if !ok {
				return errors.New("an address of another length")
			}
			result.addresses = append(result.addresses, address)
		default:
			return errors.New("another kind of name")
		}
	}
	return nil
}

func keyProblem(request *x509.CertificateRequest, allowed []string) error {
	kind := ""
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey:
		kind = map[int]string{256: "ECDSAP256", 384: "ECDSAP384"}[key.Curve.Params().BitSize]
	case ed25519.PublicKey:
		if !isOfSmallOrder(key) {
			kind = "ED25519"
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); key.E == 65537 && bits >= 2048 && bits <= 4096 {
			kind = map[int]string{2: "RSA2048", 3: "RSA3072", 4: "RSA4096"}[bits/1024]
		}
	}
	if !slices.Contains(allowed, kind) {
		return fmt.Errorf("key %q", kind)
	}
	switch request.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA:
		return nil
	}
	return errors.New("signature algorithm")
}

// isOfSmallOrder maps the point to Curve25519 (RFC 7748 4.1: u = (1+y)/(1-y)), whose Diffie-Hellman
// refuses such points. Encodings that are not canonical count as well.
func isOfSmallOrder(key ed25519.PublicKey) bool {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	little := slices.Clone(key)
	little[31] &= 0x7f
	slices.Reverse(little)
	y := new(big.Int).SetBytes(little)
	below := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(big.NewInt(1), y), p), p)
	if y.Cmp(p) >= 0 || below == nil {
		return true
	}
	u := new(big.Int).Mod(new(big.Int).Mul(new(big.Int).Add(big.NewInt(1), y), below), p)
	coordinate := u.FillBytes(make([]byte, 32))
	slices.Reverse(coordinate)
	public, err := ecdh.X25519().NewPublicKey(coordinate)
	if err != nil {
		return true
	}
	private, _ := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x42}, 32))
	_, err = private.ECDH(public)
	return err != nil
}

// subjectProblem wants an empty subject, or one common name that is one of the DNS names.
func subjectProblem(request *x509.CertificateRequest) error {
	names, err := sequence(request.RawSubject, -1)
	if err != nil || len(names) == 0 {
		return err
	}
	attributes, err := members(names[0].FullBytes, asn1.ClassUniversal, asn1.TagSet, 1)
	if err != nil || len(names) > 1 {
		return errors.New("more than one name in the subject")
	}
	parts, err := sequence(attributes[0].FullBytes, 2)
	if err != nil {
		return err
	}
	var id asn1.ObjectIdentifier
	if _, err = asn1.Unmarshal(parts[0].FullBytes, &id); err != nil || !id.Equal(idCommonName) {
		return errors.New("no common name")
	}
	name := request.Subject.CommonName
	if !slices.Contains(request.DNSNames, name) || len(name) > 64 {
		return fmt.Errorf("common name %q", name)
	}
	return nil
}

var (
	useBits  = map[string]byte{"digital signature": 0x80, "key encipherment": 0x20}
	purposes = map[string]asn1.ObjectIdentifier{
		"server auth": {1, 3, 6, 1, 5, 5, 7, 3, 1},
		"client auth": {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
)

// usageProblem judges usages, lifetime, and the extensions, which may say nothing else.
func usageProblem(question *Question, allowance Allowance, request *x509.CertificateRequest, content content) error {
	var bits byte
	var wanted []string
	for _, usage := range question.Usages {
		_, isRSA := request.PublicKey.(*rsa.PublicKey)
		if !slices.Contains(allowance.Usages, usage) || usage == "key encipherment" && !isRSA {
			return fmt.Errorf("usage %q", usage)
		}
		bits |= useBits[usage]
		if purpose, ok := purposes[usage]; ok {
			wanted = append(wanted, purpose.String())
		}
	}
	if len(wanted) == 0 {
		return errors.New("neither server nor client")
	}
	seconds := 24 * 60 * 60
	if question.ExpirationSeconds != nil {
		seconds = *question.ExpirationSeconds
	}
	if seconds > allowance.MaximumSeconds {
		return errors.New("too long")
	}
	for _, each := range content.extensions {
		switch each.id {
		case idSubjectAltName:
		case idBasicConstraints:
			if !bytes.Equal(each.value, []byte{0x30, 0}) {
				return errors.New("asks to be a CA")
			}
		case idKeyUsage:
			var said asn1.BitString
			rest, err := asn1.Unmarshal(each.value, &said)
			if err != nil || len(rest) > 0 || bits == 0 || !bytes.Equal(said.Bytes, []byte{bits}) {
				return errors.New("keyUsage says something else")
			}
		case idExtendedKeyUsage:
			var said []asn1.ObjectIdentifier
			rest, err := asn1.Unmarshal(each.value, &said)
			var ids []string
			for _, id := range said {
				ids = append(ids, id.String())
			}
			slices.Sort(ids)
			slices.Sort(wanted)
			if err != nil || len(rest) > 0 || !slices.Equal(ids, wanted) {
				return errors.New("extendedKeyUsage says something else")
			}
		default:
			return fmt.Errorf("extension %s", each.id)
		}
	}
	return nil
}

// isHostName wants LDH labels in lower case, a wildcard at most as the first of them, and no address.
func isHostName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || len(name) > 253 {
		return false
	}
	onlyDigits := true
	for _, label := range strings.Split(strings.TrimPrefix(name, "*."), ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for _, letter := range []byte(label) {
			isDigit := letter >= '0' && letter <= '9'
			if !isDigit && letter != '-' && (letter < 'a' || letter > 'z') {
				return false
			}
			onlyDigits = onlyDigits && isDigit
		}
	}
	return !onlyDigits
}
