// Command interop-go verifies chains as a program in Go would. Each line of standard input is a question
// in JSON; each line of standard output is the reason against the chain, or "ok".
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

type question struct {
	Root    string `json:"root"`
	Chain   string `json:"chain"`
	Host    string `json:"host"`    // a name or an address; empty: no matter
	Purpose string `json:"purpose"` // server or client
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked question
		err := json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			err = verify(asked)
		}
		if err == nil {
			fmt.Println("ok")
		} else {
			fmt.Println(strings.ReplaceAll("refused: "+err.Error(), "\n", " "))
		}
	}
}

func verify(asked question) error {
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(asked.Chain)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		chain = append(chain, certificate)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(asked.Root))
	for _, each := range chain[1:] {
		intermediates.AddCert(each)
	}
	usage := x509.ExtKeyUsageServerAuth
	if asked.Purpose == "client" {
		usage = x509.ExtKeyUsageClientAuth
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: asked.Host, Roots: roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}
