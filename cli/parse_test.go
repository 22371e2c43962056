package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
)

// parsed runs a verb's arguments through the same reading as the command line, and gives the context to look.
func parsed(t *testing.T, v *verb, args []string, look func(*urfave.Context) error) error {
	t.Helper()
	words, help, err := canonical(v, v.flagList(), args)
	if err != nil {
		return err
	}
	if help {
		return errors.New("help was asked for")
	}
	if err := v.checkCount(words); err != nil {
		return err
	}
	app := &urfave.App{HideHelp: true, HideVersion: true, DisableSliceFlagSeparator: true, Flags: needed(v.flagList(), words), Action: look,
		Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*urfave.Context, error) {}}
	return app.Run(append([]string{v.name}, words...))
}

func noEnvironment(string) (string, bool) { return "", false }

func parseRun(t *testing.T, args ...string) (o engine.CreateOptions, err error) {
	t.Helper()
	err = parsed(t, commands().child("run"), args, func(c *urfave.Context) (err error) {
		o, err = createOptions(c, func(name string) (string, bool) {
			value, ok := map[string]string{"HOME": "/root", "EMPTY": ""}[name]
			return value, ok
		})
		return err
	})
	return o, err
}

func TestRunFlags(t *testing.T) {
	seven, zero := 7, 0
	for _, test := range []struct {
		args string // fields, or a NUL-separated list where a field has spaces
		want func(o *engine.CreateOptions)
	}{
		{"IMAGE", func(o *engine.CreateOptions) {}},
		{"IMAGE sh -c true -it --rm", func(o *engine.CreateOptions) { o.Args = []string{"sh", "-c", "true", "-it", "--rm"} }},
		{"IMAGE -uroot --x -- -y", func(o *engine.CreateOptions) { o.Args = []string{"-uroot", "--x", "--", "-y"} }},
		{"-- IMAGE -i", func(o *engine.CreateOptions) { o.Args = []string{"-i"} }},
		{"-it IMAGE", func(o *engine.CreateOptions) { o.TTY, o.OpenStdin = true, true }},
		{"-i -t IMAGE", func(o *engine.CreateOptions) { o.TTY, o.OpenStdin = true, true }},
		{"--tty=false --interactive=true IMAGE", func(o *engine.CreateOptions) { o.OpenStdin = true }},
		{"-net br0 IMAGE", func(o *engine.CreateOptions) { o.Network = "br0" }},
		{"-net=br0 IMAGE", func(o *engine.CreateOptions) { o.Network = "br0" }},
		{"--net br0 IMAGE", func(o *engine.CreateOptions) { o.Network = "br0" }},
		{"--network=br0 IMAGE", func(o *engine.CreateOptions) { o.Network = "br0" }},
		{"-name web IMAGE", func(o *engine.CreateOptions) { o.Name = "web" }},
		{"--net host IMAGE", func(o *engine.CreateOptions) { o.Network = "host" }},
		{"--net container:web IMAGE", func(o *engine.CreateOptions) { o.Network = "container:web" }},
		{"--net ns:/run/netns/a=b IMAGE", func(o *engine.CreateOptions) { o.Network = "ns:/run/netns/a=b" }},
		{"--net a --net b --ip 10.0.0.2 IMAGE", func(o *engine.CreateOptions) {
			o.Network, o.IP, o.Networks = "a", "10.0.0.2", []engine.NetworkAttachment{{Network: "b"}}
		}},
		{"--network name=a,alias=x,alias=y,ip=10.0.0.3 --network-alias z IMAGE", func(o *engine.CreateOptions) {
			o.Network, o.IP, o.Aliases = "a", "10.0.0.3", []string{"x", "y", "z"}
		}},
		{"-e A=b,c -e B= -e HOME -e EMPTY -e UNSET IMAGE", func(o *engine.CreateOptions) {
			o.Env = []string{"A=b,c", "B=", "HOME=/root", "EMPTY="}
		}},
		{"-eA=1 IMAGE", func(o *engine.CreateOptions) { o.Env = []string{"A=1"} }},
		{"-uroot IMAGE", func(o *engine.CreateOptions) { o.User = "root" }},
		{"-u 0:0 -w /src IMAGE", func(o *engine.CreateOptions) { o.User, o.WorkingDir = "0:0", "/src" }},
		{"--entrypoint= IMAGE", func(o *engine.CreateOptions) { o.Entrypoint = []string{""} }},
		{"--entrypoint /bin/sh IMAGE -c ls", func(o *engine.CreateOptions) {
			o.Entrypoint, o.Args = []string{"/bin/sh"}, []string{"-c", "ls"}
		}},
		{"-m 512m --memory-swap=-1 --cpus .5 IMAGE", func(o *engine.CreateOptions) {
			o.Resources.Memory, o.Resources.MemorySwap, o.Resources.NanoCPUs = 512<<20, -1, 5e8
		}},
		{"-m512m IMAGE", func(o *engine.CreateOptions) { o.Resources.Memory = 512 << 20 }},
		{"-m=1.5g IMAGE", func(o *engine.CreateOptions) { o.Resources.Memory = 3 << 29 }},
		{"-c 512 --cpuset-cpus 0-1 --pids-limit -1 IMAGE", func(o *engine.CreateOptions) {
			o.Resources.CPUShares, o.Resources.CpusetCpus, o.Resources.PidsLimit = 512, "0-1", -1
		}},
		{"--stop-timeout 0 --stop-signal INT IMAGE", func(o *engine.CreateOptions) { o.StopTimeout, o.StopSignal = &zero, "INT" }},
		{"--oom-score-adj 7 IMAGE", func(o *engine.CreateOptions) { o.OomScoreAdj = &seven }},
		{"--restart on-failure:3 IMAGE", func(o *engine.CreateOptions) {
			o.Restart = engine.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}
		}},
		{"--restart unless-stopped IMAGE", func(o *engine.CreateOptions) { o.Restart.Name = "unless-stopped" }},
		{"-l a=b,c --label d IMAGE", func(o *engine.CreateOptions) { o.Labels = map[string]string{"a": "b,c", "d": ""} }},
		{"-v /a:/b:ro -v data:/d --tmpfs /t:size=1m IMAGE", func(o *engine.CreateOptions) {
			o.Mounts = []engine.Mount{{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true}, {Type: "volume", Source: "data", Target: "/d"},
				{Type: "tmpfs", Target: "/t", TmpfsOptions: []string{"size=1m"}}}
		}},
		{"--add-host db:10.0.0.9 --add-host=six=[::1] --add-host gw:host-gateway IMAGE", func(o *engine.CreateOptions) {
			o.ExtraHosts = []string{"db:10.0.0.9", "six:::1", "gw:host-gateway"}
		}},
		{"--expose 80 --expose 90-91/udp IMAGE", func(o *engine.CreateOptions) { o.Expose = []string{"80/tcp", "90/udp", "91/udp"} }},
		{"--sysctl net.ipv4.ip_forward=1 --log-opt max-size=1m IMAGE", func(o *engine.CreateOptions) {
			o.Sysctls, o.LogOpts = map[string]string{"net.ipv4.ip_forward": "1"}, map[string]string{"max-size": "1m"}
		}},
		{"--health-cmd true --health-interval 1m30s --health-retries 2 IMAGE", func(o *engine.CreateOptions) {
			o.Health = &image.Healthcheck{Test: []string{"CMD-SHELL", "true"}, Interval: 90 * time.Second, Retries: 2}
		}},
		{"--link db:database --link web IMAGE", func(o *engine.CreateOptions) { o.Links = []string{"db:database", "web"} }},
		{"--no-healthcheck IMAGE", func(o *engine.CreateOptions) { o.Health = &image.Healthcheck{Test: []string{"NONE"}} }},
		{"--rm --init --read-only --privileged -P -h box IMAGE", func(o *engine.CreateOptions) {
			o.AutoRemove, o.Init, o.ReadOnly, o.Security.Privileged, o.PublishAll, o.Hostname = true, true, true, true, true, "box"
		}},
	} {
		want := engine.CreateOptions{Image: "IMAGE", Pull: "missing", Restart: engine.RestartPolicy{Name: "no"}}
		test.want(&want)
		got, err := parseRun(t, strings.Fields(test.args)...)
		if err != nil {
			t.Errorf("run %s: %v", test.args, err)
			continue
		}
		if g, w := plain(got), plain(want); !reflect.DeepEqual(g, w) {
			t.Errorf("run %s\n got %+v\nwant %+v", test.args, g, w)
		}
	}
}

// plain makes nil of empty lists and maps, between which there is no difference here.
func plain(o engine.CreateOptions) engine.CreateOptions {
	v := reflect.ValueOf(&o).Elem()
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			switch f.Kind() {
			case reflect.Slice, reflect.Map:
				if f.Len() == 0 {
					f.SetZero()
				}
			case reflect.Struct:
				walk(f)
			}
		}
	}
	walk(v)
	return o
}

func TestRunPorts(t *testing.T) {
	o, err := parseRun(t, "-p8080:80", "-dp", "127.0.0.1:53:53/udp", "IMAGE")
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Ports) != 2 || o.Ports[0].HostPort != 8080 || o.Ports[0].ContainerPort != 80 || o.Ports[1].Proto != "udp" ||
		o.Ports[1].HostIP.String() != "127.0.0.1" {
		t.Errorf("got %+v", o.Ports)
	}
}

// Every line is refused before any effect, with a sentence that has these words in it.
func TestRunRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "requires at least 1 argument",
		"--bogus IMAGE":                          "unknown flag: --bogus",
		"--nmae web IMAGE":                       "did you mean --name?",
		"-X IMAGE":                               "unknown shorthand flag: 'X' in -X",
		"-itX IMAGE":                             "unknown shorthand flag: 'X' in -itX",
		"-name":                                  "flag needs an argument: -name",
		"IMAGE_OPTION --name":                    "",
		"--name":                                 "flag needs an argument: --name",
		"-itp":                                   "flag needs an argument: 'p' in -itp",
		"--rm=perhaps IMAGE":                     `invalid argument "perhaps" for "--rm" flag`,
		"--pids-limit many IMAGE":                `invalid argument "many" for "--pids-limit" flag`,
		"--gpus all IMAGE":                       "--gpus is not supported",
		"--explain IMAGE":                        "--explain is a global option",
		"-p 99999:80 IMAGE":                      "invalid --publish '99999:80'",
		"-p x IMAGE":                             "invalid --publish 'x'",
		"-m 1m IMAGE":                            "minimum memory limit allowed is 6MB",
		"-m lots IMAGE":                          "invalid size 'lots' for --memory",
		"--memory-swap 1g IMAGE":                 "always set --memory",
		"-m 1g --memory-swap 512m IMAGE":         "should be larger than --memory",
		"--cpus 4096 IMAGE":                      "the range is from 0.01",
		"--cpus x IMAGE":                         "invalid --cpus 'x'",
		"--cpus 1 --cpu-quota 5000 IMAGE":        "conflicting options: --cpus",
		"--cpuset-cpus 3-1 IMAGE":                "invalid --cpuset-cpus",
		"--restart sometimes IMAGE":              "invalid restart policy 'sometimes'",
		"--restart always:3 IMAGE":               "can only be given with 'on-failure'",
		"--restart on-failure:x IMAGE":           "maximum retry count",
		"--rm --restart always IMAGE":            "cannot specify both --restart and --rm",
		"-w tmp IMAGE":                           "needs to be an absolute path",
		"--stop-signal FOO IMAGE":                "--stop-signal",
		"--pull often IMAGE":                     "invalid pull option",
		"-e =x IMAGE":                            "invalid environment variable: =x",
		"--env-file /no/such/file IMAGE":         "/no/such/file",
		"-l =x IMAGE":                            "empty name",
		"--ip 10.0.0 IMAGE":                      "invalid IPv4 address",
		"--ip6 10.0.0.1 IMAGE":                   "invalid IPv6 address",
		"--mac-address zz IMAGE":                 "not a valid mac address",
		"--mac-address 01:00:00:00:00:01 IMAGE":  "multicast",
		"--net a --net a IMAGE":                  "specified multiple times",
		"--net host --net a IMAGE":               "cannot be combined",
		"--ip 10.0.0.2 IMAGE":                    "user defined networks only",
		"--net bridge --network-alias x IMAGE":   "user defined networks only",
		"--net host --ip 10.0.0.2 IMAGE":         "conflicting options: --ip and --network host",
		"--net= IMAGE":                           "the name is empty",
		"--net container: IMAGE":                 "container's name is missing",
		"--net alias=x IMAGE":                    "network name/id is not specified",
		"--add-host x IMAGE":                     "bad format for --add-host",
		"--add-host x:y IMAGE":                   "invalid IP address in --add-host",
		"--dns x IMAGE":                          "invalid --dns",
		"--dns-search a_b.-c IMAGE":              "invalid --dns-search 'a_b.-c': a domain",
		"--dns-search 1.2 IMAGE":                 "invalid --dns-search",
		"--dns-search= IMAGE":                    "invalid --dns-search",
		"--expose x IMAGE":                       "invalid --expose",
		"--ulimit nofile IMAGE":                  "invalid --ulimit",
		"--ulimit bogus=1 IMAGE":                 "invalid --ulimit",
		"--device sda IMAGE":                     "invalid --device",
		"--device /dev/null:/dev/x:q IMAGE":      "invalid --device",
		"-v a/b:/c IMAGE":                        "no volume name",
		"-v a:b IMAGE":                           "no volume name",
		"-v /a:b IMAGE":                          "must be absolute",
		"-v /a:/ IMAGE":                          "can't be '/'",
		"-v /a:/b:ro:x IMAGE":                    "too many colons",
		"-v /a:/b:zz IMAGE":                      "unknown option",
		"-v /a:/b:z,Z IMAGE":                     "can be given once",
		"-v /a:/b -v /c:/b/ IMAGE":               "duplicate mount point: /b",
		"--mount type=bind,dst=/b IMAGE":         "source must not be empty",
		"--mount type=bind,src=/a IMAGE":         "target is required",
		"--mount type=nfs,dst=/b IMAGE":          `mount type "nfs" is not supported`,
		"--mount type=tmpfs,src=/a,dst=/b IMAGE": "a tmpfs has no source",
		"--mount src=/a,dst=/b IMAGE":            "say type=bind",
		"--mount bogus IMAGE":                    "must be a key=value pair",
		"--mount type=bind,src=/a,dst=/b,tmpfs-size=1m IMAGE": "cannot mix 'tmpfs-*' options",
		"--tmpfs tmp IMAGE":                     "must be absolute",
		"--tmpfs /t:bogus IMAGE":                "unknown tmpfs option",
		"--pid bogus IMAGE":                     "invalid PID mode",
		"--ipc container: IMAGE":                "invalid IPC mode",
		"--log-driver syslog IMAGE":             "log driver \"syslog\" is not supported",
		"--log-opt max-size=x IMAGE":            "invalid --log-opt max-size=x",
		"--log-opt compress=true IMAGE":         "--log-opt compress is not supported",
		"--no-healthcheck --health-cmd x IMAGE": "--no-healthcheck conflicts",
		"--health-interval 10 IMAGE":            "it is a duration",
		"--health-timeout 1us IMAGE":            "less than 1ms",
		"--link :x IMAGE":                       "bad format for --link",
		"--sysctl x IMAGE":                      "key=value is expected",
	} {
		_, err := parseRun(t, strings.Fields(args)...)
		switch {
		case want == "":
			if err != nil {
				t.Errorf("run %s: %v", args, err)
			}
		case err == nil:
			t.Errorf("run %s was not refused", args)
		case !strings.Contains(err.Error(), want):
			t.Errorf("run %s: %q has no %q in it", args, err, want)
		case strings.Contains(err.Error(), "\n"):
			t.Errorf("run %s: more than one sentence: %q", args, err)
		}
	}
}

// A container whose network is another's has that one's names and ports; the host's names are nobody's.
func TestSharedNetworkRefusals(t *testing.T) {
	for _, flag := range []string{"--hostname b", "--dns 1.1.1.1", "--add-host b:1.2.3.4", "--link b", "--expose 80"} {
		name, _, _ := strings.Cut(flag, " ")
		_, err := parseRun(t, strings.Fields("--net container:a "+flag+" IMAGE")...)
		if want := "conflicting options: " + name + " and --network container:a"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", flag, err, want)
		}
	}
	if _, err := parseRun(t, "--net", "host", "--link", "b", "IMAGE"); err == nil || !strings.Contains(err.Error(), "--link and --network host") {
		t.Errorf("--net host --link: %v", err)
	}
	if _, err := parseRun(t, "--net", "host", "--dns", "1.1.1.1", "--hostname", "b", "IMAGE"); err != nil {
		t.Errorf("--net host with servers: %v", err)
	}
}

func TestEnvFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	text := "\xef\xbb\xbf# a comment\n\nA=1\n  B= two words \nC=\"quoted\"\nHOME\nUNSET\nD=a=b#c\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parseRun(t, "-e", "A=2", "--env-file", file, "IMAGE")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=1", "B= two words ", `C="quoted"`, "HOME=/root", "D=a=b#c", "A=2"} // -e comes last, so it wins
	if !reflect.DeepEqual(o.Env, want) {
		t.Errorf("got %q\nwant %q", o.Env, want)
	}
	for _, bad := range []string{"=x\n", "A B=x\n", "A=\xff\n"} {
		if lines, err := parsePairs(strings.NewReader(bad), noEnvironment); err == nil {
			t.Errorf("%q was read as %q", bad, lines)
		}
	}
}

func TestLabelFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labels")
	if err := os.WriteFile(file, []byte("a=1\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parseRun(t, "--label-file", file, "-l", "a=2", "IMAGE")
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"a": "2", "b": ""}; !reflect.DeepEqual(o.Labels, want) {
		t.Errorf("got %q, want %q", o.Labels, want)
	}
}

func TestMountGrammar(t *testing.T) {
	here, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]engine.Mount{
		"type=bind,src=/a,dst=/b,readonly":                {Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, MustExist: true},
		"type=bind,source=./x,target=/b,ro=false":         {Type: "bind", Source: here, Target: "/b", MustExist: true},
		`type=bind,"src=/a,b",destination=/c`:             {Type: "bind", Source: "/a,b", Target: "/c", MustExist: true},
		"type=bind,src=/a,dst=/b,bind-propagation=rslave": {Type: "bind", Source: "/a", Target: "/b", MustExist: true, Propagation: "rslave"},
		"dst=/v":                                          {Type: "volume", Target: "/v", MustExist: true},
		"src=data,dst=/v,volume-nocopy":                   {Type: "volume", Source: "data", Target: "/v", NoCopy: true, MustExist: true},
		"src=data,dst=/v,volume-subpath=a/b":              {Type: "volume", Source: "data", Target: "/v", Subpath: "a/b", MustExist: true},
		"type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1770": {Type: "tmpfs", Target: "/t", TmpfsOptions: []string{"size=2097152", "mode=1770"}, MustExist: true},
	} {
		if got, err := parseMount(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("--mount %s\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]engine.Mount{
		"/v":                {Type: "volume", Target: "/v"},
		"data:/v:nocopy,ro": {Type: "volume", Source: "data", Target: "/v", NoCopy: true, ReadOnly: true},
		"./x:/v":            {Type: "bind", Source: here, Target: "/v"},
		"/a:/b/../c/":       {Type: "bind", Source: "/a", Target: "/c"},
		"/a:/b:rshared,rw":  {Type: "bind", Source: "/a", Target: "/b", Propagation: "rshared"},
	} {
		if got, err := parseVolume(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("-v %s\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func FuzzMounts(f *testing.F) {
	for _, seed := range []string{"/a:/b:ro", "type=bind,src=/a,dst=/b", "/t:size=1m,mode=700", `"`, "::", "=,="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (engine.Mount, error){parseVolume, parseMount, parseTmpfs} {
			if m, err := parse(text); err == nil && (!strings.HasPrefix(m.Target, "/") || m.Target == "/") {
				t.Errorf("%q gave the target %q", text, m.Target)
			}
		}
	})
}

func TestOptionsBehindArguments(t *testing.T) {
	err := parsed(t, rmVerb(), []string{"web", "-f", "db", "--volumes"}, func(c *urfave.Context) error {
		if !c.Bool("force") || !c.Bool("volumes") || !reflect.DeepEqual(c.Args().Slice(), []string{"web", "db"}) {
			t.Errorf("force %v, volumes %v, arguments %q", c.Bool("force"), c.Bool("volumes"), c.Args().Slice())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = parsed(t, rmVerb(), []string{"--", "-f"}, func(c *urfave.Context) error {
		if c.Bool("force") || c.Args().First() != "-f" {
			t.Errorf("after -- came the arguments %q", c.Args().Slice())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = parsed(t, execVerb(), []string{"-it", "web", "ls", "-l", "-it"}, func(c *urfave.Context) error {
		o, err := execOptions(c, noEnvironment)
		if !o.TTY || !o.Interactive || !reflect.DeepEqual(o.Args, []string{"ls", "-l", "-it"}) {
			t.Errorf("exec options %+v", o)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
