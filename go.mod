module github.com/mydocker/mydocker

go 1.25.0

require (
	github.com/coreos/go-iptables v0.8.0
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/sirupsen/logrus v1.10.2
	github.com/urfave/cli/v2 v2.27.7
	github.com/vishvananda/netlink v1.3.1
	github.com/vishvananda/netns v0.0.5
)

require (
	github.com/docker/go-units v0.5.0 // indirect
	github.com/moby/sys/user v0.4.0 // indirect
	golang.org/x/sys v0.46.0 // indirect
	golang.org/x/term v0.40.0 // indirect
)
