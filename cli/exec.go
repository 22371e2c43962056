package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func execVerb() *verb {
	return &verb{
		name: "exec", summary: "Execute a command in a running container",
		usage: "[OPTIONS] CONTAINER COMMAND [ARG...]", min: 2, max: -1, passthrough: true, complete: "container",
		about: `The exit status is that of the command; 126 is a command that cannot be executed, for whatever reason, 127
one that is not found, 1 says that there is no such container, or that it does not run.

The keys ctrl-p ctrl-q leave a command that has a terminal running. When mydocker itself is killed, the
command is hung up on.

Examples:
  $ mydocker exec -it web sh
  $ mydocker exec -u nobody -w /tmp -e A=b web env
  $ mydocker exec -d web sh -c 'sleep 60; touch /done'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("detach,d", "Detached mode: run command in the background"),
				str("detach-keys", "string", "Override the key sequence for detaching a container"),
				list("env,e", "Set environment variables"),
				list("env-file", "Read in a file of environment variables"),
				yes("interactive,i", "Keep STDIN open even if not attached"),
				yes("privileged", "Give extended privileges to the command"),
				yes("tty,t", "Allocate a pseudo-TTY"),
				str("user,u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
				str("workdir,w", "string", "Working directory inside the container"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			if _, err := environment(c.StringSlice("env-file"), nil, s.lookup); err != nil {
				return s.bad(err)
			}
			o, err := execOptions(c, s.lookup)
			if err == nil {
				o.DetachKeys, err = s.detachKeys(c, o.TTY && !o.Detach)
			}
			if err != nil {
				return s.refuse(err)
			}
			if !o.Detach {
				if err := checkTTY(o.TTY, o.Interactive, s.streams.In); err != nil {
					return err
				}
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			code, err := e.Exec(context.Background(), c.Args().First(), o, s.streams)
			if err != nil && o.Detach { // there is no command whose status it could be
				return &engine.ExitError{Code: 1, Err: err}
			}
			return status(code, err)
		},
	}
}

func execOptions(c *urfave.Context, lookup lookupFunc) (o engine.ExecOptions, err error) {
	o = engine.ExecOptions{
		Args: c.Args().Tail(), User: c.String("user"), WorkingDir: c.String("workdir"), TTY: c.Bool("tty"),
		Interactive: c.Bool("interactive"), Detach: c.Bool("detach"), Privileged: c.Bool("privileged"),
	}
	o.Env, err = environment(c.StringSlice("env-file"), c.StringSlice("env"), lookup)
	return o, err
}

func attachVerb() *verb {
	return &verb{
		name: "attach", summary: "Attach local standard input, output, and error streams to a running container",
		usage: "[OPTIONS] CONTAINER", min: 1, max: 1, complete: "container",
		about: `The keys ctrl-p ctrl-q leave the container running, if it has a terminal. The exit status is that of the container.

Examples:
  $ mydocker attach shell
  $ mydocker attach --no-stdin --sig-proxy=false web`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("detach-keys", "string", "Override the key sequence for detaching a container"),
				yes("no-stdin", "Do not attach STDIN"),
				yesDefault("sig-proxy", true, "Proxy all received signals to the process"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o := engine.AttachOptions{NoStdin: c.Bool("no-stdin"), NoSigProxy: !c.Bool("sig-proxy")}
			var err error
			if o.DetachKeys, err = s.detachKeys(c, true); err != nil {
				return s.refuse(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			return status(e.Attach(context.Background(), c.Args().First(), o, s.streams))
		},
	}
}
