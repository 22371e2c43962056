package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLabCommandLine(t *testing.T) {
	list := my(t, "lab", "list")
	match(t, "head", list, `^LAB +STEP +LESSON\nprocess +-/\d`)
	match(t, "a lab", list, `(?m)^cable +-/5 +The cable: Two namespaces`)
	match(t, "in Chinese", my(t, "lab", "list", "--lang", "zh"), `(?m)^cable +-/5 +网线`)
	match(t, "a lab that is not started", my(t, "lab", "show", "cable"), `(?s)^# The cable.*Step 5 of 5.*not started: mydocker lab start cable\n$`)
	match(t, "no progress", my(t, "lab", "progress"), `No lab was started yet`)
	refused(t, 1, `there is no lab "cabel": `+"`mydocker lab list` shows them", "lab", "start", "cabel")
	refused(t, 1, "no lab is going on", "lab", "check")
	refused(t, 1, "no lab is going on", "lab", "hint")
	refused(t, 1, "lab cable is not started", "lab", "reset", "cable")
	refused(t, 125, "invalid language", "lab", "list", "--lang", "fr")
	refused(t, 1, "/nowhere: there is no such directory", "lab", "list", "--dir", "/nowhere")
	refused(t, 1, "requires 1 argument", "lab", "start")

	// A teacher's file with a mistake is named, and does not hide the others.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.en.md"), []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, code := onHost(t, "lab", "list", "--dir", dir)
	if code != 1 || !strings.Contains(out, "cable") || !strings.Contains(errs, "bad.en.md, line 1: a lab begins with a line ---") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestSandboxCommandLine(t *testing.T) {
	refused(t, 1, "there is no sandbox world: `mydocker sandbox up world` makes it", "sandbox", "enter")
	refused(t, 1, "there is no sandbox nobody", "sandbox", "exec", "-n", "nobody", "host", "true")
	refused(t, 1, "there is no sandbox nobody", "sandbox", "down", "nobody")
	refused(t, 1, "there is no sandbox world", "sandbox", "reset")
	refused(t, 1, "a sandbox has 1 or 2 hosts, not 7", "sandbox", "up", "--hosts", "7")
	refused(t, 1, `"A B" cannot be the name of a sandbox`, "sandbox", "up", "A B")
	refused(t, 125, "--all and names exclude each other", "sandbox", "down", "--all", "x")
	refused(t, 1, "requires at least 2 arguments", "sandbox", "exec", "host")
	equal(t, "status of none", my(t, "sandbox", "status"), "NAME   STATUS   HOSTS   ROOT   FIRST PROCESS\n")
	my(t, "sandbox", "up", "shown", "-q")
	out := my(t, "sandbox", "status", "--lang", "zh")
	_, nowhere, _ := onHost(t, "--lang", "zh", "sandbox", "exec", "nowhere", "true")
	_, missing, _ := onHost(t, "--lang", "zh", "sandbox", "exec", "host", "nosuchcommand")
	my(t, "sandbox", "down")
	match(t, "a place that is none", nowhere, `a sandbox has no place "nowhere"(?s).*沙箱里没有“nowhere”这个位置：有 host`)
	match(t, "a command that is none", missing, `command not found in the sandbox\nmydocker: 沙箱里没有命令 nosuchcommand`)
	match(t, "its addresses", out, `(?s)shown +已运行.*位置.*host +10.99.0.1 +fd99::1.*internet +203.0.113.80 +2001:db8:113::80 +www.example.com`)
	equal(t, "down of all of none", my(t, "sandbox", "down", "--all"), "")
}
