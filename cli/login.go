package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/mydocker/mydocker/cli/remote"
)

func loginVerb() *verb {
	return &verb{
		name: "login", summary: "Authenticate to a registry", usage: "[OPTIONS] [SERVER]", max: 1,
		about: `The credentials are tried, and then kept where Docker keeps them: in the helper that ~/.docker/config.json names, else in
that file.

Examples:
  $ mydocker login localhost:5000
  $ pass registry | mydocker login -u me --password-stdin registry.local`,
		flags: func() []urfave.Flag {
			return append(registryFlags(),
				str("password,p", "string", "Password or Personal Access Token (PAT)"),
				yes("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
				str("username,u", "string", "Username"),
			)
		},
		run: login,
	}
}

func login(s *session, c *urfave.Context) error {
	user, password := c.String("username"), c.String("password")
	switch {
	case c.Bool("password-stdin") && c.IsSet("password"):
		return s.bad(errors.New("conflicting options: cannot specify both --password and --password-stdin"))
	case c.Bool("password-stdin") && user == "":
		return s.bad(errors.New("the --password-stdin option requires --username to be set"))
	case c.IsSet("password"):
		s.warn([]string{"Using --password on the command line is insecure: other users can see it. Use --password-stdin."})
	}
	ctx, stop := interruptible()
	defer stop()
	r := s.request(c, "login")
	r.Server = c.Args().First()
	if user == "" && password == "" {
		if kept, err := s.loginAsBefore(ctx, r); kept {
			return err
		}
	}
	var err error
	if c.Bool("password-stdin") {
		data, readErr := io.ReadAll(io.LimitReader(s.streams.In, 1<<20))
		password, err = strings.TrimRight(string(data), "\r\n"), readErr
	} else {
		user, password, err = s.ask(user, password)
	}
	if err != nil {
		return err
	}
	r.User, r.Password = user, password
	if _, err := atRegistry(ctx, r, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.streams.Out, "Login Succeeded")
	return err
}

// loginAsBefore tries the credentials that are kept, if there are any. On a terminal others are asked for when they are refused.
func (s *session) loginAsBefore(ctx context.Context, r remote.Request) (done bool, err error) {
	_, err = atRegistry(ctx, r, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil:
		_, err = fmt.Fprintln(s.streams.Out, "Authenticating with existing credentials...\nLogin Succeeded")
		return true, err
	case isTerminal(s.streams.In):
		s.warn([]string{err.Error()})
		return false, nil
	}
	return true, err
}

// ask asks for what was not given. The password is not shown.
func (s *session) ask(user, password string) (string, string, error) {
	if user != "" && password != "" {
		return user, password, nil
	}
	if !isTerminal(s.streams.In) {
		return "", "", errors.New("cannot ask for the user name and password: standard input is not a terminal; use --username and --password-stdin")
	}
	if user == "" {
		fmt.Fprint(s.streams.Err, "Username: ")
		line, err := bufio.NewReader(s.streams.In).ReadString('\n')
		if err != nil {
			return "", "", err
		}
		user = strings.TrimSpace(line)
	}
	if password == "" {
		fmt.Fprint(s.streams.Err, "Password: ")
		secret, err := term.ReadPassword(int(s.streams.In.Fd()))
		fmt.Fprintln(s.streams.Err)
		if err != nil {
			return "", "", err
		}
		password = string(secret)
	}
	return user, password, nil
}

func logoutVerb() *verb {
	return &verb{
		name: "logout", summary: "Log out from a registry", usage: "[SERVER]", max: 1,
		about: `Examples:
  $ mydocker logout localhost:5000`,
		run: func(s *session, c *urfave.Context) error {
			server := c.Args().First()
			r := s.request(nil, "logout")
			r.Server = server
			answer, err := atRegistry(context.Background(), r, nil)
			if err != nil {
				return err
			}
			if server == "" {
				server = "docker.io"
			}
			line := "Not logged in to " + server
			if answer.Known {
				line = "Removing login credentials for " + server
			}
			_, err = fmt.Fprintln(s.streams.Out, line)
			return err
		},
	}
}
