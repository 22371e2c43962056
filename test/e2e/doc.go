// Package e2e tests mydocker as its users meet it: through the binary, on a host made of namespaces (see
// ../in-namespace.sh) with a neighbour on its LAN. What happened is judged by other programs (ip, iptables-save,
// runc, curl...) and by /proc, not by mydocker's own word.
//
// After each test the host must be what it was before: links, addresses, routes, namespaces, firewall rules, mounts,
// cgroups, processes and records are compared.
//
// Run it as root: go test ./test/e2e -run TestPublish -v
package e2e
