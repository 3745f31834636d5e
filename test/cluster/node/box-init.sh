#!/bin/bash
# pid 1 of the sandbox: a mount tree that looks like a node's and leaks nothing to the machine.
# box-init.sh RUN_DIRECTORY NODE_NAME
set -e
run=$1
hostname "$2"
mount --make-rshared / # our own peer group: the machine's mounts stay untouched
mount -t tmpfs -o mode=755 podseal-run /run
mkdir -p /run/lock /run/netns /run/containerd
mkdir -p "$run/varlog" "$run/kubelet" "$run/containerd" "$run/cni"
mount --bind "$run/varlog" /var/log
mkdir -p /var/log/pods /var/log/containers
mount -t tmpfs -o mode=755 podseal-varlib /var/lib
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni
for name in kubelet containerd cni; do mount --bind "$run/$name" "/var/lib/$name"; done
mount --make-rshared /var/lib/kubelet
echo 1 >/proc/sys/net/ipv4/ip_forward
# The kubelet insists on these and would write them machine-wide: show it files that already hold them.
mkdir -p "$run/ktune"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$run/ktune/$(echo "${setting%=*}" | tr / _)
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
: >"$run/box-ready"
trap 'exit 0' TERM
while :; do sleep 1000 & wait $!; done # bash as pid 1 also reaps orphans
