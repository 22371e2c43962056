package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// versionJSON is what a template of `version` may name. There is one program, which stands for Docker's client and server.
type versionJSON struct {
	Client  versionPart
	Server  versionPart
	Version string
}

type versionPart struct {
	Platform                                    struct{ Name string }
	Version, GoVersion, Os, Arch, KernelVersion string             //nolint:revive // Docker's keys
	Context                                     string             `json:",omitempty"` // the client's
	GitCommit, BuildTime                        string             `json:",omitempty"`
	Components                                  []versionComponent `json:",omitempty"` // the server's
}

// versionComponent is a program that the server is made of: there is this one.
type versionComponent struct{ Name, Version string }

func versionVerb() *verb {
	return &verb{
		name: "version", summary: "Show the version information", usage: "[OPTIONS]",
		about: `Examples:
  $ mydocker version -f '{{.Client.Version}}'`,
		flags: inspectFlags,
		run: func(s *session, c *urfave.Context) error {
			v := s.versions()
			show, err := inspectPrinter(c.String("format"))
			if err != nil {
				return &usageError{s.verb, err.Error(), 64} // Docker's status for a template
			}
			if show != nil {
				return show(s.streams.Out, v)
			}
			p := v.Client
			_, err = fmt.Fprintf(s.streams.Out, "mydocker:\n Version:    %s\n Go version: %s\n OS/Arch:    %s/%s\n Kernel:     %s\n",
				p.Version, p.GoVersion, p.Os, p.Arch, p.KernelVersion)
			return err
		},
	}
}

func (s *session) versions() versionJSON {
	p := versionPart{Version: s.version, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range build.Settings {
			switch setting.Key {
			case "vcs.revision":
				p.GitCommit = setting.Value
			case "vcs.time":
				p.BuildTime = setting.Value
			}
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil { // it fails only for a bad pointer
		p.KernelVersion = unix.ByteSliceToString(uts.Release[:])
	}
	p.Platform.Name = "mydocker"
	server := p
	server.Components = []versionComponent{{"mydocker", s.version}}
	p.Context = "default"
	return versionJSON{Client: p, Server: server, Version: s.version}
}

// machine is the architecture as uname -m says it.
func (s *session) machine() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(uts.Machine[:])
}

func (s *session) printVersion() error {
	_, err := fmt.Fprintf(s.streams.Out, "mydocker version %s, %s\n", s.version, runtime.Version())
	return err
}
