// Package sandbox makes a throw-away world out of namespaces, in which a learner is root and can break everything.
//
//	internet                                  lan                              host
//	203.0.113.80/32  www.example.com
//	203.0.113.53/32  dns.example.com
//	203.0.113.9/32   ping.example.com
//	198.51.100.2/24  eth0 ═══════ wan  198.51.100.1/24
//	                              eth0 10.99.0.2/24  ═════════════════ eth0 10.99.0.1/24, default via 10.99.0.2
//	                                             └─ with a second host ═══ eth0 10.99.0.3/24
//
//	2001:db8:113::80, ::53, ::9
//	2001:db8:100::2  eth0 ═══════ wan  2001:db8:100::1
//	                              eth0 fd99::2/64  ═══════════════════ eth0 fd99::1/64, default via fd99::2
//
// Four places: host, where containers are run; host2, another such machine, when asked for; lan, the neighbour, which is also
// the router to the internet; internet, which has a web server and a name server and knows nothing of networks behind the
// host. Nothing of it is connected with the real network.
//
// A place is a network namespace. host (and host2) are more: own processes, own /run, /var, /etc, /tmp and home directories
// (what is written there goes to memory), own /dev without disks, own sysctls below net/, own branch of the cgroup tree; all
// other file systems are read-only. One process, the keeper, holds all of it together: it is the first process of the
// pid namespace, so when it dies everything dies with it, and the kernel takes down links, rules and mounts. What is left
// then, a directory of records and empty cgroups, is removed by the next command that looks.
//
// Files: sandbox.go is the story (up, down, list), launch.go and keeper.go are the two processes that make the world,
// mounts.go, cgroups.go, links.go and userns.go its parts, control.go and client.go bring commands into it, internet.go is
// the two servers.
//
// What it is not: a security boundary. Root in a sandbox that root has made can find its way out (mknod, kernel modules);
// it cannot get out by accident.
package sandbox
