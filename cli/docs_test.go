package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/docker-compat.md says what the code does: it is written again and compared.
func TestCompatTableIsCurrent(t *testing.T) {
	file := filepath.Join("..", "docs", "docker-compat.md")
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, compatTable()) {
		t.Errorf("%s is not current: go run . docs compat docs/docker-compat.md", file)
	}
}

// Every flag that the table calls supported is really taken, every other is refused by name.
func TestCompatTableTellsTheTruth(t *testing.T) {
	for line := range strings.Lines(docker28) {
		words, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		v := find(words)
		if words == "-" || v == nil || v.children != nil {
			continue
		}
		flags, _ := dockerCommand(words)
		r := &reader{verb: v, flags: v.flagList()}
		for _, f := range flags {
			if f.names[0] == "help" {
				continue
			}
			ours := r.find(f.names[0])
			_, _, err := canonical(v, v.flagList(), []string{"--" + f.names[0] + "=1"})
			switch {
			case ours == nil && (err == nil || !strings.HasPrefix(err.Error(), "--"+f.names[0]+" is not supported: ")):
				t.Errorf("%s --%s is not refused by name: %v", words, f.names[0], err)
			case ours == nil && strings.HasSuffix(err.Error(), "mydocker does not implement it"):
				t.Errorf("%s --%s is refused without a reason", words, f.names[0])
			case ours != nil && err != nil && strings.Contains(err.Error(), "unknown flag"):
				t.Errorf("%s --%s: %v", words, f.names[0], err)
			case ours != nil && (f.kind == "bool") != isSwitch(ours):
				t.Errorf("%s --%s takes a value in one of the two and not in the other", words, f.names[0])
			case ours != nil:
				for _, n := range f.names {
					if r.find(n) != ours {
						t.Errorf("%s --%s is also called -%s", words, f.names[0], n)
					}
				}
			}
		}
	}
}

func TestManPages(t *testing.T) {
	dir := t.TempDir()
	if err := writeManPages(dir, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 100 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, file := range pages {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		at := -1
		for _, section := range []string{".TH ", "NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"} {
			if section != ".TH " {
				section = "\n.SH " + section + "\n"
			}
			next := bytes.Index(page, []byte(section))
			if next <= at {
				t.Errorf("%s: %q is missing, or comes too early", file, section)
			}
			at = next
		}
		if !bytes.Contains(page, []byte("\n  $ mydocker ")) {
			t.Errorf("%s has no example", file)
		}
		for _, also := range regexp.MustCompile(`(?m)^\.BR (\S+) \(1\)`).FindAllSubmatch(page, -1) {
			if name := strings.ReplaceAll(string(also[1]), `\-`, "-"); !slices.Contains(pages, filepath.Join(dir, name+".1")) {
				t.Errorf("%s points to %s, which does not exist", file, name)
			}
		}
	}
	page := string(manPage(&verb{name: "x", parent: &verb{name: "y"}, summary: "a-b", about: ".dot\n'quote\n\nback\\slash"}, "1", "2026-01-01"))
	for _, want := range []string{"a\\-b", "\\&.dot", "\\(aqquote", ".PP", "back\\eslash"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	for _, judge := range [][]string{{"groff", "-man", "-ww", "-z", "-Tutf8"}, {"mandoc", "-Tlint", "-Wwarning"}} { // (how wide our source lines are is no fault)
		if out, err := exec.Command(judge[0], append(judge[1:], pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", judge[0], err, out)
		}
	}
}

func TestCandidates(t *testing.T) {
	s := &session{lookup: noEnvironment}
	s.root.Lib, s.root.Run = t.TempDir(), t.TempDir()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"ru":                          "run",
		"container re":                "rename restart",
		"bogus ":                      "",
		"run --netw":                  "--network --network-alias",
		"run --restart ":              "no always on-failure unless-stopped",
		"run --restart=un":            "--restart=unless-stopped",
		"run -it --pull ":             "missing always never",
		"run -dp 80:80 --pull n":      "never",
		"run --env-file " + dir + "/": dir + "/sub/",
		"run busybox --netw":          "",
		"--log-level d":               "debug",
		"--root /x ps --form":         "--format",
		"network rm n":                "none",
		"run --net ho":                "host",
		"completion z":                "zsh",
		"completion zsh ":             "",
		"__com":                       "",
		"rename a b ":                 "",
		"step run --rest":             "--restart",
		"step network cre":            "create",
		"help netw":                   "network",
		"network connect br0 h":       "",
		"network connect ho":          "host",
		"lab start cab":               "cable",
		"sandbox exec l":              "lan",
		"run --cap-add CAP_NET_A":     "CAP_NET_ADMIN",
		"run --log-driver j":          "json-file journald",
		"run -v " + dir + "/":         dir + "/sub/",
		"cp " + dir + "/":             dir + "/sub/",
		"top web -":                   "",
		"inspect n":                   "none",
		"ps --filter sta":             "status=",
		"ps -af status=re":            "status=restarting status=removing",
		"container ls --filter he":    "health=",
		"ps --filter=status=ex":       "--filter=status=exited",
		"ps --filter nonsense=":       "",
		"ps --filter network=no":      "network=none",
		"network ls -f driver=n":      "driver=null",
		"network ls -f type=":         "type=builtin type=custom",
		"images --filter dangling=t":  "dangling=true",
		"image ls --filter b":         "before=",
		"volume ls -f driver=":        "driver=local",
		"events --filter type=c":      "type=container",
		"events --filter event=exec_": "event=exec_create event=exec_detach event=exec_die event=exec_start",
		"system prune --filter u":     "until=",
		"ps --format ":                "json table",
		"inspect --format ":           "json",
		"volume create --opt t":       "type=",
		"network create -d ma":        "macvlan",
		"volume create -d ":           "local",
		"run --mount type=b":          "type=bind",
	} {
		words := strings.Split(line, " ")
		var got []string
		for _, c := range s.candidates(words) {
			got = append(got, c.word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", line, strings.Join(got, " "), want)
		}
	}
}

// The script for bash, in bash, with a mydocker that answers as ours would.
func TestBashCompletion(t *testing.T) {
	out, _, code := called(t, "completion", "bash")
	if code != 0 {
		t.Fatal("no script")
	}
	script := out + `
mydocker() { shift; printf '%s\tabout\n' "${answers[@]}"; printf '%s|' "$@" > "$asked"; }
ask() { COMP_LINE="$1"; COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _mydocker; echo "${COMPREPLY[*]}"; }
answers=(run rename); ask "mydocker r" mydocker r; cat "$asked"; echo
answers=(busybox:latest busybox:1); ask "mydocker run busybox:" mydocker run busybox :; cat "$asked"; echo
answers=(busybox:latest); ask "mydocker run busybox:la" mydocker run busybox : la
answers=(web); ask "mydocker stop " mydocker stop ""; cat "$asked"; echo
`
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "asked="+filepath.Join(t.TempDir(), "asked"))
	got, err := cmd.CombinedOutput()
	want := "run rename\nr|\nlatest 1\nrun|busybox:|\nlatest\nweb\nstop||\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// HTTP, TLS and the big decoders cost every process their start, so the program that `make` builds links none of them: see
// package remote and image/helper.go.
func TestNoHTTPInTheWayOfRun(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(goTool, "list", "-e", "-deps", "-tags", "urfave_cli_no_docs,registry_helper", "-f", "{{.ImportPath}}", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "github.com/mydocker/mydocker/engine\n") {
		t.Fatalf("this is not what mydocker is linked of:\n%s", out)
	}
	for _, path := range strings.Fields(string(out)) {
		switch path {
		case "net/http", "crypto/tls", "github.com/klauspost/compress/zstd", "github.com/ulikunitz/xz", "compress/bzip2":
			t.Errorf("%s is linked into mydocker", path)
		}
	}
}
