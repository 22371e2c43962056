package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/plan"
)

// called runs a whole command line on roots of its own, and gives what it wrote and its exit status.
func called(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	dir := t.TempDir()
	files := make(map[string]*os.File)
	for _, name := range []string{"in", "out", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[name] = f
	}
	s := &session{lookup: noEnvironment, version: "1.2.3", streams: engine.Streams{In: files["in"], Out: files["out"], Err: files["err"]}}
	roots := []string{"--root", filepath.Join(dir, "lib"), "--run-root", filepath.Join(dir, "run")}
	code = s.report(s.dispatch(append(roots, args...)))
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, tree := range []string{"lib", "run"} {
		if _, err := os.Stat(filepath.Join(dir, tree)); code != 0 && err == nil {
			t.Errorf("%q was refused and has left something in --root or --run-root", args)
		}
	}
	return read("out"), read("err"), code
}

func TestContainerTable(t *testing.T) {
	row := containerToRow(&engine.Summary{
		ID: strings.Repeat("0123456789abcdef", 4), Names: []string{"web"}, Image: "busybox", Command: "httpd -f -h /var/www/html",
		Created: time.Now().Add(-3 * time.Minute), State: "running", Status: "Up 3 minutes", Labels: map[string]string{"a.b": "1"},
		Ports: []engine.PortSummary{{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}},
	}, true)
	for _, test := range []struct {
		format string
		quiet  bool
		want   string
	}{
		{"", false, `CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS         PORTS                  NAMES
0123456789ab   busybox   "httpd -f -h /var/ww…"   3 minutes ago   Up 3 minutes   0.0.0.0:8080->80/tcp   web
`},
		{"", true, "0123456789ab\n"},
		{"{{.Names}} {{.Label \"a.b\"}}", false, "web 1\n"},
		{`table {{.Names}}\t{{upper .Status}}\t{{.Label "a.b"}}`, false, "NAMES     STATUS         b\nweb       UP 3 MINUTES   1\n"},
		{"{{json .Names}}", false, "\"web\"\n"},
		{"raw", false, "container_id: 0123456789ab\nimage: busybox\ncommand: \"httpd -f -h /var/ww…\"\ncreated_at: " + row.CreatedAt +
			"\nstate: running\nstatus: Up 3 minutes\nnames: web\nlabels: a.b=1\nports: 0.0.0.0:8080->80/tcp\n\n"},
		{"raw", true, "container_id: 0123456789ab\n"},
		{"{{.State}}{{pad .Names 1 2}}|{{truncate .Image 3}}", false, "running web  |bus\n"},
	} {
		var out strings.Builder
		if err := containerListing(false).print(&out, test.format, test.quiet, []containerRow{row}); err != nil {
			t.Errorf("--format %q: %v", test.format, err)
		}
		if out.String() != test.want {
			t.Errorf("--format %q\n%s\nwant\n%s", test.format, out.String(), test.want)
		}
	}
	var out strings.Builder
	if err := containerListing(false).print(&out, "json", false, []containerRow{row}); err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	if err := json.Unmarshal([]byte(out.String()), &keys); err != nil || keys["Names"] != "web" || keys["Labels"] != "a.b=1" {
		t.Errorf("--format json: %v in %s", err, out.String())
	}
	for _, format := range []string{"{{.Nothing}}", "{{", "table {{.ID"} {
		if err := containerListing(false).print(&out, format, false, []containerRow{row}); err == nil {
			t.Errorf("--format %q was not refused", format)
		}
	}
}

func TestPortsText(t *testing.T) {
	p := func(ip string, private, public uint16) engine.PortSummary {
		return engine.PortSummary{IP: ip, PrivatePort: private, PublicPort: public, Type: "tcp"}
	}
	for want, ports := range map[string][]engine.PortSummary{
		"":                                 nil,
		"80/tcp":                           {p("", 80, 0)},
		"0.0.0.0:8080->80/tcp":             {p("0.0.0.0", 80, 8080)},
		"0.0.0.0:8000-8002->8000-8002/tcp": {p("0.0.0.0", 8002, 8002), p("0.0.0.0", 8000, 8000), p("0.0.0.0", 8001, 8001)},
		"0.0.0.0:8000->80/tcp, 0.0.0.0:8001->81/tcp":         {p("0.0.0.0", 81, 8001), p("0.0.0.0", 80, 8000)},
		"0.0.0.0:3306->3306/tcp, 33060/tcp":                  {p("", 33060, 0), p("0.0.0.0", 3306, 3306)},
		"90-91/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp": {p("::", 80, 8080), p("0.0.0.0", 80, 8080), p("", 90, 0), p("", 91, 0)},
		"0.0.0.0:1->1/tcp, 0.0.0.0:3->3/tcp, [::]:1->1/tcp":  {p("::", 1, 1), p("0.0.0.0", 1, 1), p("0.0.0.0", 3, 3)},
	} {
		if got := portsText(ports); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestContainerFilters(t *testing.T) {
	up := &engine.Summary{ID: "aaa1", Names: []string{"web"}, Image: "nginx", ImageID: "sha256:5eed", State: "running", Labels: map[string]string{"k": "v"},
		Networks: []string{"br0"}, Ports: []engine.PortSummary{{PrivatePort: 80, PublicPort: 8080, Type: "tcp"}}}
	down := &engine.Summary{ID: "bbb2", Names: []string{"db"}, Image: "pg:16", State: "exited", ExitCode: 3}
	for _, test := range []struct {
		filters string
		all     bool
		want    []*engine.Summary
	}{
		{"", false, []*engine.Summary{up}},
		{"", true, []*engine.Summary{up, down}},
		{"status=exited", false, []*engine.Summary{down}},
		{"status=exited status=running", false, []*engine.Summary{up, down}},
		{"exited=3", true, []*engine.Summary{down}},
		{"exited=0", true, nil},
		{"name=e", true, []*engine.Summary{up}},
		{"name=^d", true, []*engine.Summary{down}},
		{"id=bbb", true, []*engine.Summary{down}},
		{"label=k", true, []*engine.Summary{up}},
		{"label=k=v", true, []*engine.Summary{up}},
		{"label=k=w", true, nil},
		{"label!=k", true, []*engine.Summary{down}},
		{"ancestor=nginx", true, []*engine.Summary{up}},
		{"ancestor=nginx:latest", true, []*engine.Summary{up}},
		{"ancestor=5eed", true, []*engine.Summary{up}},
		{"network=br0", true, []*engine.Summary{up}},
		{"publish=8080", true, []*engine.Summary{up}},
		{"publish=8000-9000/tcp", true, []*engine.Summary{up}},
		{"publish=8080/udp", true, nil},
		{"expose=80", true, []*engine.Summary{up}},
		{"is-task=true", true, nil},
		{"before=web", true, []*engine.Summary{down}},
		{"since=db", true, []*engine.Summary{up}},
	} {
		f, err := parseFilters(strings.Fields(test.filters), "ancestor", "before", "exited", "expose", "id", "is-task", "label", "label!",
			"name", "network", "publish", "since", "status")
		if err != nil {
			t.Errorf("%s: %v", test.filters, err)
			continue
		}
		keep, err := containerFilter(f, test.all)
		if err != nil {
			t.Errorf("%s: %v", test.filters, err)
			continue
		}
		list, err := betweenContainers([]*engine.Summary{up, down}, f)
		if err != nil {
			t.Errorf("%s: %v", test.filters, err)
		}
		var got []*engine.Summary
		for _, s := range list {
			if keep(s) {
				got = append(got, s)
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("ps --filter %s: got %d containers, want %d", test.filters, len(got), len(test.want))
		}
	}
}

func TestInspectTemplates(t *testing.T) {
	v := &engine.ContainerJSON{ID: "abc", Name: "/web"}
	v.State.Pid = 42
	v.Config.Env = []string{"A=1", "B=<2>"}
	v.NetworkSettings.Networks = map[string]*engine.EndpointJSON{"br0": {IPAddress: "10.0.0.2"}}
	for format, want := range map[string]string{
		"{{.State.Pid}}":             "42\n",
		"{{.Id}}":                    "abc\n", // the JSON key, where the Go field is ID
		"{{.ID}}":                    "abc\n",
		"{{json .Config.Env}}":       `["A=1","B=<2>"]` + "\n",
		"{{join .Config.Env \",\"}}": "A=1,B=<2>\n",
		"{{index .Config.Env 0}}":    "A=1\n",
		"{{range .Config.Env}}{{println .}}{{end}}":                                   "A=1\nB=<2>\n\n",
		"{{.NetworkSettings.Networks.br0.IPAddress}}":                                 "10.0.0.2\n",
		"{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}": "br0=10.0.0.2\n",
		"{{if gt .State.Pid 1}}up{{end}}":                                             "up\n",
		"{{slice .Id 0 2}} {{upper .Name}} {{len .Config.Env}}":                       "ab /WEB 2\n",
	} {
		show, err := inspectPrinter(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		var out strings.Builder
		if err := show(&out, v); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v; want %q", format, out.String(), err, want)
		}
	}
	show, err := inspectPrinter("{{.Nothing}}")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := show(&out, v); err == nil || out.Len() > 0 || !strings.Contains(err.Error(), `map has no entry for key "Nothing"`) {
		t.Errorf("a key that is not there: %v, %q", err, out.String())
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, zone)
	for text, want := range map[string]time.Time{
		"":                          {},
		"10m":                       now.Add(-10 * time.Minute),
		"1h30m":                     now.Add(-90 * time.Minute),
		"1770000000":                time.Unix(1770000000, 0),
		"1770000000.5":              time.Unix(1770000000, 5e8),
		"2026-01-02T15:04:05Z":      time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05.25Z":   time.Date(2026, 1, 2, 15, 4, 5, 25e7, time.UTC),
		"2026-01-02T15:04:05+01:00": time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05":       time.Date(2026, 1, 2, 15, 4, 5, 0, zone),
		"2026-01-02T15:04":          time.Date(2026, 1, 2, 15, 4, 0, 0, zone),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "2026-13-01", "yesterday"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestExplainLines(t *testing.T) {
	for want, op := range map[string]plan.Step{
		"ip link set lo up                                       # lo works\n": {Cmd: "ip link set lo up", Reason: "lo works"},
		"# nothing equals this (it is why)\n":                                  {Cmd: "# nothing equals this", Reason: "it is why"},
		"true\n":                                                               {Cmd: "true"},
	} {
		if got := (&explainer{}).line(op); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (&explainer{color: true}).line(plan.Step{Cmd: "true", Reason: "why"}); !strings.Contains(got, "\x1b[2m# why\x1b[0m") {
		t.Errorf("no colour in %q", got)
	}
}
