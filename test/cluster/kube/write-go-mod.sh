#!/bin/bash
# Writes go.mod and go.sum anew for another version: K8S=v1.37.2 ./write-go-mod.sh
# The go.mod of Kubernetes points its staging modules at folders that the published module lacks
# (version v0.0.0), so each is replaced by its published counterpart, v0.MINOR.PATCH.
set -e
cd "$(dirname "$0")"
K8S=${K8S:-v1.37.2} STAGING=v0.${K8S#v1.}
rm -f go.mod go.sum
printf 'module podseal.dev/test/kube\n\ngo 1.26.0\n\ngodebug default=go1.26\n' >go.mod
go mod edit -require "k8s.io/kubernetes@$K8S" -require go.etcd.io/etcd/server/v3@v3.7.0
K8S_MOD=$(go mod download -json "k8s.io/kubernetes@$K8S" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
grep -oE '^\s+k8s\.io/[a-z-]+ =>' "$K8S_MOD" | awk '{print $1}' | while read -r module; do
  go mod edit -replace "$module=$module@$STAGING"
done
go mod tidy
