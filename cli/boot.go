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
		about: `Containers with the restart policy always or unless-stopped are started again, as they were; what a crash left behind is
removed first. It is run once after each start of the machine: by the unit that "mydocker system install-unit" writes, or by
another init.

Examples:
  $ mydocker system boot`,
		run: func(s *session, _ *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			started, failed, err := e.Boot(context.Background())
			for _, name := range started {
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
		},
	}
}

const unitPath = "/etc/systemd/system/mydocker.service"

func installUnitVerb() *verb {
	return &verb{
		name: "install-unit", summary: "Write a systemd unit that brings containers back after a reboot", usage: "[OPTIONS]",
		about: `Examples:
  $ mydocker system install-unit
  $ systemctl daemon-reload && systemctl enable mydocker
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
			_, err = fmt.Fprintf(s.streams.Out, "%s\nSwitch it on: systemctl daemon-reload && systemctl enable mydocker\n", to)
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
	return `[Unit]
Description=Containers of mydocker that come back after a reboot
Wants=network-online.target
After=network-online.target local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=process
ExecStart=` + strings.Join(append(words, "system", "boot"), " ") + `

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
