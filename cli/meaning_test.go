package cli

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lang"
)

// What a learner gets wrong is said in Chinese, too: below the English sentence, which scripts know. Each line is a command that fails.
func TestErrorsAreUnderstood(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "--subnet", "10.72.0.0/24", "understood")
	my(t, "create", "--name", "made", "busybox", "nope")
	chinese, english, quoted := regexp.MustCompile(`\p{Han}`), regexp.MustCompile(`[a-z]{2,} [a-z]{2,} [a-z]{2,}`), regexp.MustCompile("`[^`]*`|“.*?”|（mydocker.*?）|：mydocker .*")
	for line := range strings.Lines(learnersErrors) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		_, errs, code := onHost(t, append([]string{"--lang", "zh"}, strings.Fields(line)...)...)
		if code == 0 || !strings.ContainsFunc(errs, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) || strings.ContainsAny(errs, "⟪{") {
			t.Errorf("mydocker %s: status %d\n%s", line, code, errs)
		}
		for said := range strings.Lines(errs) {
			if chinese.MatchString(said) && english.MatchString(quoted.ReplaceAllString(said, "")) {
				t.Errorf("mydocker %s: half in English: %s", line, said)
			}
		}
	}
	_, errs, _ := onHost(t, "--lang", "zh", "kill", "made")
	match(t, "the last of two that fit", errs, "\nmydocker: 容器 made 没有在运行")
	my(t, "rm", "made")
	my(t, "network", "rm", "understood")
}

const learnersErrors = `
	bogus
	network crate
	swarm init
	-H tcp://x ps
	--log-level loud ps
	--firewall pf ps
	ps --firewall nftables
	ps --bogus
	ps -Z
	ps --quie
	ps extra
	ps --filter status=x
	ps --filter health=x
	ps --no-trunc=maybe
	ps --filter x
	ps --filter x=y
	rename one
	rename nobody x
	rm
	rm nobody
	exec made
	exec made ls
	start made
	start nobody
	start -a one two
	update made
	update -m lots made
	kill made
	kill -s NOPE made
	logs nobody
	logs --tail x made
	logs --since x made
	inspect nobody
	inspect --type pod made
	inspect -f {{.Nosuch}} made
	port made 99
	port made x
	attach made
	top made
	pause made
	unpause made
	stop -t x made
	cp nobody:/x .
	cp made:/x nobody:/y
	cp a b
	commit made BAD
	volume rm nosuch
	volume create b@d
	volume create -d nfs v
	network create understood
	network create bridge
	network create a/b
	network create --opt x n
	network create --subnet 10.72.0.0/16 other
	network create --subnet 10.72.0.5/24 other
	network create --subnet 10.72.0 other
	network create --subnet 10.77.0.0/24 --gateway 10.78.0.1 other
	network create --subnet 10.77.0.0/24 --ip-range 10.78.0.0/24 other
	network create --subnet 10.0.0.0/8 --subnet 11.0.0.0/8 other
	network create --gateway 10.78.0.1 other
	network create -d overlay other
	network create -d nosuch other
	network create -d macvlan -o parent=nosuch other
	network rm nosuch
	network rm bridge
	network connect understood nobody
	network connect nosuch made
	network disconnect understood made
	image bootstrap --from sand
	load -i /no/such.tar
	tag nosuch x
	tag busybox BAD
	rmi nosuch
	history nosuch
	run
	run busybox nosuch
	run --name made busybox true
	run --name x busybox true
	run --pull never nosuch true
	run -p 80808:80 busybox true
	run -p x:80 busybox true
	run -p 8080-8082:80-81 busybox true
	run -p 9090:80/foo busybox true
	run -p 192.0.2.77:9090:80 busybox true
	run -net nosuch busybox true
	run -net container:nobody busybox true
	run -net container:made busybox true
	run --net host -net understood busybox true
	run --net host --ip 10.72.0.9 busybox true
	run --net host --link made busybox true
	run --net container:made -p 80 busybox true
	run --no-healthcheck --health-cmd true busybox true
	run --cpus 1 --cpu-quota 1000 busybox true
	run -d -a stdout busybox true
	run --uts host -h me busybox true
	run --dry-run -P busybox true
	doctor --json --fix
	image bootstrap --suite sid
	login --password x --password-stdin
	run --ip 10.72.9.2 -net understood busybox true
	run --ip 10.72.0.300 -net understood busybox true
	run --ip 172.17.0.9 busybox true
	run --mac-address zz busybox true
	run --network-alias x busybox true
	run --link nobody busybox true
	run --link made busybox true
	run --dns notanip busybox true
	run --add-host x busybox true
	run -m 1m busybox true
	run -m lots busybox true
	run --cpus 1000 busybox true
	run --cpus x busybox true
	run --cpuset-cpus 999 busybox true
	run --pids-limit x busybox true
	run --env-file /no/such/file busybox true
	run -v x:relative busybox true
	run -v /tmp:/x:zz busybox true
	run --mount type=bind,source=/no/such/path,target=/x busybox true
	run --mount type=foo busybox true
	run --mount bad busybox true
	run --tmpfs relative busybox true
	run --user nouser busybox true
	run -w relative busybox true
	run --cap-add NOPE busybox true
	run --security-opt nope busybox true
	run --sysctl nope busybox true
	run --sysctl kernel.x=1 busybox true
	run --ulimit nope busybox true
	run --restart sometimes busybox true
	run --restart always --rm busybox true
	run --log-driver syslog busybox true
	run --pid wrong busybox true
	run --volumes-from nobody busybox true
	run --pull sometimes busybox true
	run --userns-remap nobodyhere busybox true
	lab start nosuch
	lab start
	lab list --dir /nowhere
	sandbox up --hosts 3
	sandbox enter
	sandbox exec
	sandbox down --all x
	doctor nobody
	trace
	trace host nobody
	trace host host:99999
	trace host host/foo
	trace --size 5 host host/icmp
	topology --format nope
	topology --width -1
	topology --width x
	why
	why nosuch
	why --kind nope x
	explain nosuch
	step
	step step run
	step nosuch
	events --since nope
`

// A file that cannot be written is refused before a packet is sent, and a probe that cannot be sent leaves a file as it was.
func TestPcapIsOpenedFirst(t *testing.T) {
	dir := t.TempDir()
	out, errs, code := onHost(t, "trace", "--pcap", filepath.Join(dir, "none", "x"), "host", "host/icmp")
	if code != 125 || out != "" || !strings.Contains(errs, "no such file") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(old, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, 125, "no container and no namespace is called nobody", "trace", "--pcap", old, "host", "nobody")
	refused(t, 125, "no container and no namespace is called nobody", "trace", "--pcap", fresh, "host", "nobody")
	if text, err := os.ReadFile(old); err != nil || string(text) != "precious" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("an empty file is left")
	}
}

// Why Docker's command or flag is not to be had, and what to use instead, is said in Chinese as it is in English.
func TestRefusalsAreUnderstood(t *testing.T) {
	zh, err := lang.Open(lang.Chinese)
	if err != nil {
		t.Fatal(err)
	}
	understood := func(what, refused string) {
		_, reason, _ := strings.Cut(refused, ": ")
		says := zh.Meaning(errors.New(reason))
		whole := zh.Meaning(errors.New(refused))
		if len(says) != 1 || len(whole) != 1 || !strings.HasSuffix(whole[0], "："+says[0]) || !strings.Contains(whole[0], what) {
			t.Errorf("%s: %q, of which the reason is %q", refused, whole, says)
		}
	}
	commands := []string{"compose", "buildx", "scout"}
	for line := range strings.Lines(docker28) {
		words, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		v := find(words)
		if v == nil {
			commands = append(commands, words)
			continue
		}
		flags, _ := dockerCommand(words)
		for _, f := range flags {
			if (&reader{verb: v, flags: v.flagList()}).find(f.names[0]) == nil && f.names[0] != "help" {
				understood("--"+f.names[0], refusal(v, f.names[0]))
			}
		}
	}
	for _, words := range commands {
		understood("“"+words+"”", refusedCommand(words))
	}
}
