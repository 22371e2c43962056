package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/state"
)

func bootVerb() *verb {
	return &verb{
		name: "boot", summary: "Start the containers that are to come back after a reboot",
		about: `Containers with the restart policy always are started again, as they were; those with unless-stopped too, unless a user
had stopped them, and those with on-failure if they had not ended well. What a crash left behind is removed first. It is run
once after each start of the machine: by the unit that "mydocker system install-unit" writes, or by another init, which runs
"mydocker system shutdown" before the machine goes down.

Examples:
  $ mydocker system boot`,
		run: func(s *session, _ *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.tellAll(e.Boot(context.Background()))
		},
	}
}

func shutdownVerb() *verb {
	return &verb{
		name: "shutdown", summary: "Stop all containers because the machine goes down",
		about: `Each container is sent its stop signal and has its own time to end, as with "mydocker stop", all of them side by side. They do
not count as stopped by a user: "mydocker system boot" brings back those whose restart policy says so. It is run before the
machine goes down: by the unit that "mydocker system install-unit" writes, or by another init.

Examples:
  $ mydocker system shutdown`,
		run: func(s *session, _ *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.tellAll(e.Shutdown(context.Background()))
		},
	}
}

// tellAll prints with whom it went well, and reports with whom it did not.
func (s *session) tellAll(done []string, failed []error, err error) error {
	for _, name := range done {
		if _, err := fmt.Fprintln(s.streams.Out, name); err != nil {
			return err
		}
	}
	for _, one := range failed {
		s.report(one)
	}
	if err == nil && len(failed) > 0 {
		err = exitStatus(1)
	}
	return err
}

const unitPath = "/etc/systemd/system/mydocker.service"

func installUnitVerb() *verb {
	return &verb{
		name: "install-unit", summary: "Write a systemd unit that brings containers back after a reboot", usage: "[OPTIONS]",
		about: `Examples:
  $ mydocker system install-unit
  $ systemctl daemon-reload && systemctl enable --now mydocker
  $ mydocker system install-unit --output - | less`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{strDefault("output,o", "file", unitPath, "Where to write the unit; - is standard output")}
		},
		run: func(s *session, c *urfave.Context) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			text := unit(program, s.root, s.firewall)
			to := c.String("output")
			if to == "-" {
				_, err := s.streams.Out.WriteString(text)
				return err
			}
			if err := state.Replace(to, []byte(text), state.Durable); err != nil {
				return err
			}
			if err := os.Chmod(to, 0o644); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.streams.Out, "%s\nSwitch it on: systemctl daemon-reload && systemctl enable --now mydocker\n", to)
			return err
		},
	}
}

// unit is the text of a systemd.service(5). The monitors that `boot` starts live on in the unit's cgroup when its one command has
// ended; the containers themselves have groups of their own.
func unit(program string, root state.Root, firewall string) string {
	words := []string{program}
	if def := state.DefaultRoot(); root.Lib != def.Lib || root.Run != def.Run {
		words = append(words, "--root", root.Lib, "--run-root", root.Run)
	}
	if firewall != "" {
		words = append(words, "--firewall", firewall)
	}
	for i, w := range words {
		words[i] = unitWord(w)
	}
	line := strings.Join(append(words, "system"), " ")
	return `[Unit]
Description=Containers of mydocker that come back after a reboot
Wants=network-online.target
After=network-online.target nss-lookup.target local-fs.target time-set.target firewalld.service nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=process
ExecStart=` + line + ` boot
ExecStop=` + line + ` shutdown
TimeoutStopSec=5min

[Install]
WantedBy=multi-user.target
`
}

// unitWord quotes a word for ExecStart=: percent signs and dollars would be replaced there.
func unitWord(word string) string {
	word = strings.NewReplacer("%", "%%", "$", "$$").Replace(word)
	if strings.ContainsAny(word, " \t\"'\\;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
	}
	return word
}
