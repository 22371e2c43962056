package cli

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
)

// A table stands in columns on the terminal, where a Chinese character is two wide; for ASCII it is text/tabwriter's, as Docker's is.
func TestColumnsOfWideCharacters(t *testing.T) {
	equal(t, "wide", string(inColumns("NAME\tIMAGE\tX\n网络\tbusybox\t1\nab\t一二三四五\t2\n", 10)),
		"NAME      IMAGE        X\n网络      busybox      1\nab        一二三四五   2\n")
	for _, text := range []string{"A\tB\tC\n1\t22\t333\n", "A\tLONGER THAN TEN\n\t\nx\ty\n", "one cell\n", "A\t\n1\t\n", "", "a\tb\tc\nlonger than that\t\tc\n"} {
		var want bytes.Buffer
		w := tabwriter.NewWriter(&want, 10, 1, 3, ' ', 0)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		equal(t, text, string(inColumns(text, 10)), want.String())
	}
}

// Where a newcomer is stuck, the sentence says what to do next.
func TestErrorsNameTheNextStep(t *testing.T) {
	busyboxImage(t)
	my(t, "create", "--name", "made", "busybox", "nope")
	for line, want := range map[string]string{
		"ps -a --format {{.Nonsense}}":                           "there is no field .Nonsense: .Command, ",
		"inspect nothing":                                        "(mydocker ps -a, images, network ls and volume ls list them)",
		"start made":                                             "(is it in the image?",
		"run --ulimit nofile busybox":                            "such as nofile=1024:4096",
		"run --log-opt max-size=x busybox":                       "a size such as 10m is expected",
		"run --cap-add NET_ADMN busybox":                         "capabilities(7) lists them",
		"compose up":                                             "it is a program of its own",
		"run --disable-content-trust=false busybox":              "--disable-content-trust is not supported: only true",
		"run --volume-driver nfs busybox":                        "--volume-driver is not supported: only local is taken",
		"network create --ipam-driver dhcp lab":                  "--ipam-driver is not supported: only default is taken",
		"run --isolation hyperv busybox":                         "only default is taken",
		"network create -o com.docker.network.driver.mtux=1 lab": "did you mean com.docker.network.driver.mtu?",
	} {
		out, errs, code := onHost(t, strings.Fields(line)...)
		if !strings.Contains(errs, want) || code == 0 && !strings.HasPrefix(errs, "WARNING: ") || regexp.MustCompile("[0-9a-f]{64}").MatchString(errs) {
			t.Errorf("mydocker %s: status %d\n%s%s", line, code, out, errs)
		}
	}
	equal(t, "what goes without saying", my(t, "run", "--rm", "--disable-content-trust", "--volume-driver", "local", "--isolation=default", "busybox", "echo", "ok"), "ok\n")
}
