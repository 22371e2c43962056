package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/explain"
)

// What texts tell a learner to type exists: the command, and its flags.
func TestCommandsInTextsExist(t *testing.T) {
	typed := map[string]string{}
	for _, topic := range explain.Topics() {
		for _, command := range topic.Try {
			typed[command] = "explain " + topic.Name
		}
	}
	quoted := regexp.MustCompile("`(mydocker [^`]*)`")
	files, err := filepath.Glob("../lang/catalogue/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range quoted.FindAllStringSubmatch(string(data), -1) {
			typed[found[1]] = file
		}
	}
	if len(typed) < 60 {
		t.Errorf("only %d commands found", len(typed))
	}
	if impossible([]string{"network", "crate"}) == "" || impossible([]string{"run", "--nosuch", "busybox"}) == "" || impossible([]string{"run", "-d", "--name", "x", "busybox", "ls", "-Z"}) != "" {
		t.Error("this test does not see what is wrong")
	}
	for command, where := range typed {
		words := strings.Fields(command)
		if words[0] != "mydocker" {
			continue
		}
		if why := impossible(words[1:]); why != "" {
			t.Errorf("%s: %s: %s", where, command, why)
		}
	}
}

// impossible says what of a command line does not exist.
func impossible(words []string) string {
	v := commands()
	known := flagWords(globalFlags())
	for i, w := range words {
		name, _, _ := strings.Cut(w, "=")
		switch {
		case w == "--" || strings.ContainsAny(w, "|>"):
			return ""
		case strings.HasPrefix(w, "-") && len(w) > 1:
			if name != "--help" && name != "-net" && !slices.Contains(known, name) {
				return "no flag " + name
			}
		case v.children != nil && regexp.MustCompile(`^[a-z]+$`).MatchString(w):
			child := v.child(w)
			if child == nil {
				return "no command " + strings.Join(words[:i+1], " ")
			}
			v, known = child, append(known, flagWords(child.flagList())...)
		case v.passthrough && v.parent != nil && !takesValue(v, words, i):
			return "" // the container's own command
		}
	}
	return ""
}

func flagWords(flags []urfave.Flag) (list []string) {
	for _, f := range flags {
		for _, n := range names(f) {
			if list = append(list, "--"+n); len(n) == 1 {
				list = append(list, "-"+n)
			}
		}
	}
	return list
}

// takesValue says whether a word is the value of the flag before it.
func takesValue(v *verb, words []string, i int) bool {
	if i == 0 || !strings.HasPrefix(words[i-1], "-") || strings.Contains(words[i-1], "=") {
		return false
	}
	for _, f := range v.flagList() {
		if slices.Contains(flagWords([]urfave.Flag{f}), words[i-1]) {
			return !isSwitch(f)
		}
	}
	return false
}
