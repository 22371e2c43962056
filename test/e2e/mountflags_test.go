package e2e

import (
	"os"
	"strings"
	"testing"
)

// Volumes and mounts, each with what only it says: propagation, nocopy, subpaths, --volumes-from, the options of tmpfs.
func TestMountFlags(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	sh(t, "mkdir -p "+dir+"/src; mount --bind "+dir+"/src "+dir+"/src; mount --make-private "+dir+"/src; mount --make-shared "+dir+"/src")
	t.Cleanup(func() { sh(t, "umount -R "+dir+"/src") })
	t.Cleanup(func() { my(t, "volume", "rm", "flags-a", "flags-b", "flags-c") })

	// What is mounted on the host after the start comes in by a slave and by a shared mount, and by a private one not; what is
	// mounted inside comes out of a shared one only.
	for _, c := range []struct{ name, flag, value, in, out, shown string }{
		{"private", "-v", dir + "/src:/m", "0", "0", "rprivate"},
		{"slave", "-v", dir + "/src:/m:slave", "1", "0", "slave"},
		{"rslave", "--mount", "type=bind,src=" + dir + "/src,dst=/m,bind-propagation=rslave", "1", "0", "rslave"},
		{"shared", "-v", dir + "/src:/m:shared", "1", "1", "shared"},
		{"rshared", "--mount", "type=bind,src=" + dir + "/src,dst=/m,bind-propagation=rshared", "1", "1", "rshared"},
	} {
		t.Run("propagation "+c.name, func(t *testing.T) {
			sh(t, "mkdir -p "+dir+"/src/late "+dir+"/src/inner")
			box := sleeper(t, "propagates", "--privileged", c.flag, c.value)
			sh(t, "mount -t tmpfs late "+dir+"/src/late")
			equal(t, "mounts that came in", box.sh("grep -c ' /m/late ' /proc/self/mounts || :"), c.in)
			box.exec("mount", "-t", "tmpfs", "inner", "/m/inner")
			equal(t, "mounts that came out", sh(t, "grep -c ' "+dir+"/src/inner ' /proc/self/mounts || :"), c.out)
			equal(t, "inspect", box.inspect("{{(index .Mounts 0).Propagation}}"), strings.TrimPrefix(c.shown, " "))
			must(t, "rm", "-f", box.name)
			sh(t, "umount "+dir+"/src/late; umount "+dir+"/src/inner 2>/dev/null; :")
		})
	}

	// A mount that tells nobody of what is mounted below it cannot give what is asked for: refused, and nothing is made.
	sh(t, "mkdir "+dir+"/alone; mount -t tmpfs alone "+dir+"/alone; mount --make-private "+dir+"/alone")
	t.Cleanup(func() { sh(t, "umount "+dir+"/alone") })
	for flag, says := range map[string]string{"shared": "not a shared mount", "rshared": "not a shared mount", "slave": "not a shared or slave mount", "rslave": "not a shared or slave mount"} {
		refused(t, 125, []string{"path " + dir + "/alone/new/er is mounted on " + dir + "/alone but it is " + says}, "run", "--rm", "-v", dir+"/alone/new/er:/m:"+flag, "busybox", "true")
	}
	equal(t, "what a refused mount made", sh(t, "ls "+dir+"/alone"), "")
	must(t, "create", "--name", "propagates", "-v", dir+"/src:/m:rshared", "busybox", "true")
	sh(t, "mount --make-private "+dir+"/src")
	refused(t, 1, []string{"not a shared mount"}, "start", "propagates")
	sh(t, "mount --make-shared "+dir+"/src")
	must(t, "start", "-a", "propagates")
	must(t, "rm", "propagates")
	refused(t, 125, []string{"propagation"}, "run", "--mount", "type=bind,src="+dir+"/src,dst=/m,bind-propagation=sideways", "busybox", "true")

	// What the host has read-only stays so.
	sh(t, "mkdir "+dir+"/disk; mount -t tmpfs disk "+dir+"/disk; mount -o remount,bind,ro "+dir+"/disk")
	t.Cleanup(func() { sh(t, "umount "+dir+"/disk") })
	for _, flag := range [][]string{{"-v", dir + "/disk:/m"}, {"-v", dir + "/disk:/m:rw"}, {"--mount", "type=bind,src=" + dir + "/disk,dst=/m"}} {
		equal(t, "a read-only directory of the host, "+flag[1], see(t, append(flag, "busybox", "sh", "-c", "touch /m/f 2>&1 || :")...), "touch: /m/f: Read-only file system")
	}

	has := "test -e /etc/passwd && echo image || echo empty"
	equal(t, "a new volume", see(t, "-v", "flags-a:/etc", "busybox", "sh", "-c", has), "image")
	equal(t, "-v nocopy", see(t, "-v", "flags-b:/etc:nocopy", "busybox", "sh", "-c", has), "empty")
	equal(t, "--mount volume-nocopy", see(t, "--mount", "type=volume,src=flags-c,dst=/etc,volume-nocopy", "busybox", "sh", "-c", has), "empty")
	see(t, "-v", "flags-b:/v", "busybox", "sh", "-c", "mkdir -p /v/a/b; echo deep >/v/a/b/file; ln -s / /v/out")
	equal(t, "volume-subpath", see(t, "--mount", "type=volume,src=flags-b,dst=/s,volume-subpath=a/b", "busybox", "cat", "/s/file"), "deep")
	refused(t, 125, []string{"subpath"}, "run", "--mount", "type=volume,src=flags-b,dst=/s,volume-subpath=missing", "busybox", "true")
	refused(t, 125, []string{"subpath"}, "run", "--mount", "type=volume,src=flags-b,dst=/s,volume-subpath=../x", "busybox", "true")
	if r := my(t, "run", "--rm", "--mount", "type=volume,src=flags-b,dst=/s,volume-subpath=out/etc", "busybox", "ls", "/s"); r.code == 0 && strings.Contains(r.out, "shadow") {
		t.Errorf("a link in a volume leads out of it: %s", r.out)
	}

	from := sleeper(t, "has-volumes", "-v", "flags-b:/v", "-v", dir+"/src:/bound:ro", "--tmpfs", "/own")
	try := "for d in /v /bound; do touch $d/t 2>/dev/null && echo rw || echo ro; done | xargs; test -e /own || echo no tmpfs"
	equal(t, "--volumes-from", see(t, "--volumes-from", from.name, "busybox", "sh", "-c", try), "rw ro\nno tmpfs")
	equal(t, "--volumes-from :ro", see(t, "--volumes-from", from.name+":ro", "busybox", "sh", "-c", try), "ro ro\nno tmpfs")
	refused(t, 125, []string{"nobody"}, "run", "--volumes-from", "nobody", "busybox", "true")

	mount := func(flags ...string) string {
		return see(t, append(flags, "busybox", "sh", "-c", "grep ' /t ' /proc/self/mounts; stat -c %a /t")...)
	}
	match(t, "--tmpfs", mount("--tmpfs", "/t"), `^tmpfs /t tmpfs rw,nosuid,nodev,noexec,relatime\S* 0 0\n1777$`)
	match(t, "--tmpfs with options", mount("--tmpfs", "/t:ro,exec,size=64k,mode=0750"), `^tmpfs /t tmpfs ro,nosuid,nodev,relatime,size=64k,mode=750\S* 0 0\n750$`)
	match(t, "tmpfs-size and tmpfs-mode", mount("--mount", "type=tmpfs,dst=/t,tmpfs-size=131072,tmpfs-mode=0700"), `size=128k,mode=700.*\n700$`)
	refused(t, 125, []string{"tmpfs"}, "run", "--tmpfs", "/t:nonsense", "busybox", "true")
	if _, err := os.Stat(dir + "/src/t"); err == nil {
		t.Error("a read-only mount was written to")
	}
}

// Namespaces of others, groups, limits and devices: what the kernel says of them inside.
func TestModeFlags(t *testing.T) {
	cleanHost(t)
	other := sleeper(t, "modes", "--ipc", "shareable", "--hostname", "of-modes")
	hostNS := func(kind string) string { return sh(t, "readlink /proc/self/ns/"+kind) }
	link := func(kind string, flags ...string) string {
		return see(t, append(flags, "busybox", "readlink", "/proc/self/ns/"+kind)...)
	}
	for _, c := range []struct{ kind, flag, value, want string }{
		{"pid", "--pid", "container:modes", other.exec("readlink", "/proc/self/ns/pid")}, {"pid", "--pid", "host", hostNS("pid")},
		{"ipc", "--ipc", "container:modes", other.exec("readlink", "/proc/self/ns/ipc")}, {"ipc", "--ipc", "host", hostNS("ipc")},
		{"uts", "--uts", "host", hostNS("uts")}, {"user", "--userns", "host", hostNS("user")},
		{"net", "--network", "container:modes", other.exec("readlink", "/proc/self/ns/net")}, {"net", "--network", "host", hostNS("net")},
	} {
		equal(t, c.flag+" "+c.value, link(c.kind, c.flag, c.value), c.want)
	}
	equal(t, "--ipc none has no /dev/shm", see(t, "--ipc", "none", "busybox", "sh", "-c", "grep -c /dev/shm /proc/self/mounts || :"), "0")
	private := sleeper(t, "private-ipc", "--ipc", "private")
	refused(t, 125, []string{"ipc"}, "run", "--ipc", "container:"+private.name, "busybox", "true")
	for _, args := range []string{"--pid container:nobody", "--ipc container:nobody", "--uts container:modes", "--userns nonsense", "--pid nonsense", "--ipc nonsense"} {
		flag, value, _ := strings.Cut(args, " ")
		refused(t, 125, []string{strings.TrimPrefix(flag, "--")}, "run", flag, value, "busybox", "true")
	}

	// One container for all that goes together.
	script := `id -G; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax; df -k /dev/shm | awk 'NR==2{print $2}'`
	equal(t, "groups, oom score, ulimits, sysctls, shm", see(t, "-u", "1:2", "--group-add", "games", "--group-add", "77", "--oom-score-adj", "321", "--ulimit", "nofile=123:456",
		"--ulimit", "core=0", "--sysctl", "net.core.somaxconn=99", "--sysctl", "kernel.msgmax=4242", "--shm-size", "2m", groupImage(t), "sh", "-c", script),
		"2 60 77\n321\n123\n456\n0\n99\n4242\n2048")
	refused(t, 125, []string{"group"}, "run", "--group-add", "nosuchgroup", "busybox", "true")
	for _, bad := range []string{"--sysctl kernel.hostname=x", "--sysctl vm.swappiness=1", "--ulimit nonsense=1", "--ulimit nofile=9:3", "--shm-size -1", "--oom-score-adj 1001", "--gpus all"} {
		flag, value, _ := strings.Cut(bad, " ")
		refused(t, 125, []string{strings.TrimPrefix(flag, "--")}, "run", flag, value, "busybox", "true")
	}

	// The kernel's log: a device that no container has by itself, and that is read with a capability. (What may be made with mknod is any, as with Docker.)
	try := `(: <$d) && echo r; (: >$d) && echo w; :`
	for flags, want := range map[string]string{"": "rw", ":r": "r", ":w": "w", ":rw": "rw", ":rwm": "rw", ":m": ""} {
		got := see(t, "--cap-add", "SYSLOG", "--device", "/dev/kmsg:/dev/mine"+flags, "busybox", "sh", "-c", "d=/dev/mine; exec 2>/dev/null; test -c $d || echo missing; "+try)
		equal(t, "--device "+flags, strings.Join(strings.Fields(got), ""), want)
	}
	refused(t, 125, []string{"device"}, "run", "--device", "/dev/kmsg:/dev/mine:x", "busybox", "true")
	equal(t, "a device that was not given", see(t, "--cap-add", "SYSLOG", "busybox", "sh", "-c", "mknod /tmp/d c 1 11; d=/tmp/d; exec 2>/dev/null; "+try), "")
	equal(t, "--device-cgroup-rule", see(t, "--cap-add", "SYSLOG", "--device-cgroup-rule", "c 1:11 r", "busybox", "sh", "-c", "mknod /tmp/d c 1 11; d=/tmp/d; exec 2>/dev/null; "+try), "r")
	equal(t, "--privileged", see(t, "--privileged", "busybox", "sh", "-c", "d=/dev/kmsg; exec 2>/dev/null; "+try), "r\nw")
}

// groupImage is an image in whose /etc/group games is 60.
func groupImage(t *testing.T) string {
	t.Helper()
	c := start(t, "groups", "busybox", "sh", "-c", "echo games:x:60: >>/etc/group")
	must(t, "wait", c.name)
	must(t, "commit", c.name, "with-groups")
	must(t, "rm", c.name)
	t.Cleanup(func() { must(t, "rmi", "with-groups") })
	return "with-groups"
}
