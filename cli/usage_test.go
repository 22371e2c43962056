package cli

import (
	"strings"
	"testing"
)

func TestExitStatusOfUsageErrors(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"bogus":                                {1, "unknown command: mydocker bogus"},
		"sotp":                                 {1, "did you mean 'mydocker stop'?"},
		"help bogus":                           {1, "unknown command: mydocker bogus"},
		"network crate":                        {1, "did you mean 'mydocker network create'?"},
		"swarm init":                           {1, "'swarm' is a command of Docker's that mydocker does not have"},
		"image build .":                        {1, "'image build' is a command of Docker's"},
		"-H tcp://x ps":                        {125, "--host is not supported: there is no daemon"},
		"--log-level loud ps":                  {125, "invalid --log-level"},
		"--firewall pf ps":                     {125, "invalid --firewall"},
		"run --firewall pf busybox":            {125, "invalid --firewall"},
		"ps --firewall nftables":               {125, "--firewall is a global option"},
		"network connect --gw-priority x a b":  {125, "gw-priority"},
		"network connect --driver-opt x=y a b": {1, "driver option x is not known"},
		"network connect --link-local-ip 10.0.0.1 a b": {1, "is no link-local address"},
		"run --network name=a,gw-priority=x busybox":   {125, "gw-priority \"x\" is not a number"},
		"run --network name=a,driver-opt=x busybox":    {125, "invalid key value pair"},
		"run --link-local-ip 169.254.1.1 busybox":      {125, "--link-local-ip is supported on user defined networks only"},
		"ps --bogus":                       {125, "unknown flag: --bogus"},
		"ps extra":                         {1, "accepts no arguments"},
		"ps --filter x":                    {125, "expected name=value"},
		"ps --filter x=y":                  {1, "invalid filter 'x'"},
		"ps --filter status=asleep":        {1, "one of created, running"},
		"ps --filter exited=x":             {1, "a number is expected"},
		"ps --filter name=(":               {1, "invalid filter 'name=('"},
		"rename one":                       {1, "requires 2 arguments"},
		"rm":                               {1, "requires at least 1 argument"},
		"exec web":                         {1, "requires at least 2 arguments"},
		"exec --detach-keys ctrl-1 web sh": {125, "invalid detach keys"},
		"run":                              {1, "requires at least 1 argument"},
		"run --gpus all x":                 {125, "--gpus is not supported"},
		"run --platform a/b/c/d x":         {125, "invalid platform"},
		"restart -s NOPE web":              {1, "invalid signal"},
		"update web":                       {1, "one or more flags"},
		"update -m lots web":               {125, "invalid size 'lots'"},
		"update --restart x web":           {1, "invalid restart policy"},
		"kill -s NOPE web":                 {1, "invalid signal"},
		"logs --tail x web":                {1, "invalid --tail 'x'"},
		"logs --since x web":               {1, "invalid --since"},
		"start -a one two":                 {1, "multiple containers at once"},
		"inspect --type pod x":             {1, "not a valid value for --type"},
		"inspect -f {{.X x":                {64, "template parsing error"},
		"network create --opt x n":         {1, "key=value is expected"},
		"network create --subnet 10.0.0.0/8 --subnet 11.0.0.0/8 n": {1, "of one family"},
		"image bootstrap --from sand":                              {1, "busybox or debian"},
		"image bootstrap --suite sid":                              {1, "conflicting options"},
		"import http://x/y.tar":                                    {1, "curl"},
	} {
		out, errs, code := called(t, strings.Fields(line)...)
		lines := strings.Split(strings.TrimSpace(errs), "\n")
		if code != want.code || !strings.Contains(errs, want.text) || out != "" || len(lines) != 2 ||
			!strings.HasPrefix(lines[0], "mydocker: ") || !strings.HasPrefix(lines[1], "See 'mydocker") {
			t.Errorf("mydocker %s: status %d, want %d with %q\nstdout %q\nstderr %q", line, code, want.code, want.text, out, errs)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"", "network"} { // not asked for: on stderr, as Docker's
		if out, errs, code := called(t, strings.Fields(line)...); code != 0 || out != "" || !strings.HasPrefix(errs, "Usage:  mydocker") {
			t.Errorf("mydocker %s: status %d, stderr %q, stdout %q", line, code, errs, out)
		}
	}
	for _, line := range []string{"--help", "-h", "help", "network --help", "ps --help", "ps -h", "run -it --help", "container ls --help", "help run", "help network create"} {
		out, errs, code := called(t, strings.Fields(line)...)
		if code != 0 || errs != "" || !strings.HasPrefix(out, "Usage:  mydocker") {
			t.Errorf("mydocker %s: status %d, stderr %q, stdout %q", line, code, errs, out)
		}
	}
	out, _, _ := called(t, "rm", "--help")
	want := `Usage:  mydocker rm [OPTIONS] CONTAINER [CONTAINER...]

Remove one or more containers

Examples:
  $ mydocker rm web
  $ mydocker rm -f -v web db

Options:
  -f, --force     Force the removal of a running container (uses SIGKILL)
  -v, --volumes   Remove anonymous volumes associated with the container
`
	if out != want {
		t.Errorf("rm --help\n%s\nwant\n%s", out, want)
	}
	if out, _, _ := called(t, "--version"); !strings.HasPrefix(out, "mydocker version 1.2.3, ") {
		t.Errorf("--version: %q", out)
	}
}

// Every command says what it does, how it is used, and shows an example; its flags are well-formed.
func TestEveryCommandIsDocumented(t *testing.T) {
	var visit func(v *verb)
	visit = func(v *verb) {
		for _, c := range v.children {
			visit(c)
		}
		if v.summary == "" || strings.HasSuffix(v.summary, ".") {
			t.Errorf("%s: the summary is %q", v.path(), v.summary)
		}
		if v.children != nil {
			return
		}
		if !strings.Contains(v.about, "$ mydocker ") && !v.hidden {
			t.Errorf("%s: its help shows no example", v.path())
		}
		if v.run == nil {
			t.Errorf("%s does nothing", v.path())
		}
		seen := make(map[string]bool)
		for _, f := range v.flagList() {
			for _, n := range names(f) {
				if seen[n] {
					t.Errorf("%s: flag %s is there twice", v.path(), n)
				}
				seen[n] = true
			}
			if flagUsage(f) == "" {
				t.Errorf("%s --%s: no usage", v.path(), names(f)[0])
			}
			if !isSwitch(f) && flagKind(f) == "" {
				t.Errorf("%s --%s: no kind", v.path(), names(f)[0])
			}
		}
	}
	visit(commands())
}

func TestNearest(t *testing.T) {
	names := []string{"run", "rm", "rmi", "restart", "rename", "start", "stop", "stats"}
	for typed, want := range map[string]string{"strat": "start", "restrat": "restart", "rnu": "run", "renam": "rename", "xyzzy": "", "sto": "stop", "q": ""} {
		if got := nearest(typed, names); got != want {
			t.Errorf("%s: got %q, want %q", typed, got, want)
		}
	}
}

// What Docker has and we refuse is refused by name.
func TestRefusalsHaveReasons(t *testing.T) {
	flags, found := dockerCommand("run")
	if !found || len(flags) < 90 {
		t.Fatalf("Docker's run has %d flags here", len(flags))
	}
	run := commands().child("run")
	r := reader{verb: run, flags: run.flagList()}
	for _, f := range flags {
		if f.names[0] == "help" || r.find(f.names[0]) != nil {
			continue
		}
		if got := refusal(run, f.names[0]); !strings.HasPrefix(got, "--"+f.names[0]+" is not supported: ") {
			t.Errorf("--%s is refused with %q", f.names[0], got)
		}
	}
}
