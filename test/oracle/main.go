// The oracle of the generated tests: a second opinion, written from the rules in words and apart from
// the program's own code. Questions come in as lines of JSON, answers go out the same way, in order.
package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// Answer says what Go's parser, which is the API server's, sees; and whether the request is right.
type Answer struct {
	// Whether the API server would take the request, and why not.
	Taken bool   `json:"taken"`
	Error string `json:"error"`
	// As the parser sees them.
	DNSNames    []string `json:"dnsNames"`
	IPAddresses []string `json:"ipAddresses"`
	URIs        []string `json:"uris"`
	// Whether it may be approved, and what stands against it.
	Allowed bool     `json:"allowed"`
	Why     string   `json:"why"`
	Refused []string `json:"refused"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var question Question
		if err := json.Unmarshal(line, &question); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := encoder.Encode(answer(&question)); err != nil {
			os.Exit(1)
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

func answer(question *Question) Answer {
	result := Answer{DNSNames: []string{}, IPAddresses: []string{}, URIs: []string{}, Refused: []string{}}
	request, err := take(question.Request)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	result.Taken = true
	result.DNSNames = append(result.DNSNames, request.DNSNames...)
	for _, address := range request.IPAddresses {
		result.IPAddresses = append(result.IPAddresses, address.String())
	}
	for _, uri := range request.URIs {
		result.URIs = append(result.URIs, uri.String())
	}
	refused, err := judge(question, request)
	result.Allowed = err == nil
	if err != nil {
		result.Why = err.Error()
	}
	result.Refused = append(result.Refused, refused...)
	return result
}

// take does what the API server does with spec.request (k8s.io/kubernetes pkg/apis/certificates).
func take(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return request, request.CheckSignature()
}

// onlyOneBlock says whether the text is one plain PEM block, with white space around it at most.
func onlyOneBlock(text []byte) error {
	const begin, end = "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"
	block, rest := pem.Decode(text)
	text = bytes.Trim(text, " \t\r\n")
	switch {
	case len(block.Headers) > 0:
		return errors.New("PEM headers")
	case len(bytes.Trim(rest, " \t\r\n")) > 0 || !bytes.HasSuffix(text, []byte(end)):
		return errors.New("something after the PEM block")
	case !bytes.HasPrefix(text, []byte(begin)) || bytes.Count(text, []byte("-----BEGIN")) != 1:
		return errors.New("something before the PEM block")
	}
	return nil
}
