package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/image"
)

func cpVerb() *verb {
	return &verb{
		name: "cp", summary: "Copy files/folders between a container and the local filesystem",
		usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", min: 2, max: 2, complete: "place",
		about: `A dash is a tar archive on standard output or input. The content of a directory without the directory itself is SRC_PATH/.
Links in the container lead nowhere out of it. Its volumes are reached whether it runs or not.

Examples:
  $ mydocker cp web:/etc/nginx/nginx.conf .
  $ mydocker cp site/. web:/usr/share/nginx/html
  $ mydocker cp web:/var/log - | tar t`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("archive,a", "Archive mode (copy all uid/gid information)"),
				yes("follow-link,L", "Always follow symbol link in SRC_PATH"),
				yes("quiet,q", "Suppress progress output during copy (there is none)"),
			}
		},
		run: cp,
	}
}

// place is one end of a copy: a path in a container, or of the host.
type place struct{ container, path string }

// parsePlace reads CONTAINER:PATH or PATH. What begins with / or . is a path of the host, whatever colons are in it.
func parsePlace(text string) (place, error) {
	if text == "" {
		return place{}, errors.New("neither the source nor the destination may be empty")
	}
	name, file, ok := strings.Cut(text, ":")
	if !ok || text[0] == '/' || text[0] == '.' || name == "" {
		return place{path: text}, nil
	}
	if file == "" {
		return place{}, fmt.Errorf("%s: the path in the container is missing", text)
	}
	return place{name, file}, nil
}

func cp(s *session, c *urfave.Context) error {
	from, err := parsePlace(c.Args().Get(0))
	if err != nil {
		return s.bad(err)
	}
	to, err := parsePlace(c.Args().Get(1))
	if err != nil {
		return s.bad(err)
	}
	switch {
	case from.container == "" && to.container == "":
		return s.bad(errors.New("must specify at least one container source: CONTAINER:PATH"))
	case from.container != "" && to.container != "":
		return s.bad(errors.New("copying between containers is not supported: copy to the host first, or pipe (mydocker cp A:/x - | mydocker cp - B:/)"))
	}
	o := image.CopyOptions{FollowLink: c.Bool("follow-link"), Archive: c.Bool("archive")}
	ctx, stop := interruptible()
	defer stop()
	// The names that Docker's events have for the two ways.
	if from.container != "" {
		return s.copied(from.container, "archive-path", s.copyOut(ctx, from, to.path, o))
	}
	return s.copied(to.container, "extract-to-dir", s.copyIn(ctx, from.path, to, o))
}

// copied tells of a copy that went well.
func (s *session) copied(container, event string, err error) error {
	if err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	if d, err := e.Find(container); err == nil { // else it was removed at once
		e.ContainerEvent(d, event)
	}
	return nil
}

func (s *session) copyOut(ctx context.Context, from place, to string, o image.CopyOptions) (err error) {
	if to == "-" && isTerminal(s.streams.Out) {
		return errors.New("the archive would go to the terminal: redirect it, or name a file")
	}
	tree, done, err := s.containerTree(from.container)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if to == "-" {
		return tree.Read(ctx, from.path, path.Base(path.Clean("/"+from.path)), s.streams.Out, o)
	}
	host, err := hostTree()
	if err != nil {
		return err
	}
	defer host.Root.Close()
	if to, err = absolute(to); err != nil {
		return err
	}
	return image.Copy(ctx, tree, from.path, host, to, o)
}

func (s *session) copyIn(ctx context.Context, from string, to place, o image.CopyOptions) (err error) {
	if from == "-" && isTerminal(s.streams.In) {
		return errors.New("standard input is a terminal: pipe an archive in, or name a file")
	}
	tree, done, err := s.containerTree(to.container)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if from == "-" {
		return tree.Write(ctx, to.path, s.streams.In)
	}
	host, err := hostTree()
	if err != nil {
		return err
	}
	defer host.Root.Close()
	if from, err = absolute(from); err != nil {
		return err
	}
	return image.Copy(ctx, host, from, tree, to.path, o)
}

func (s *session) containerTree(ref string) (image.Tree, func() error, error) {
	files, err := s.filesOf(ref)
	if err != nil {
		return image.Tree{}, nil, err
	}
	tree, err := files.inside()
	if err != nil {
		return image.Tree{}, nil, errors.Join(err, files.close())
	}
	return tree, func() error { return errors.Join(tree.Root.Close(), files.close()) }, nil
}

func hostTree() (image.Tree, error) {
	root, err := os.Open("/")
	return image.Tree{Root: root}, err
}

// absolute makes a path of the host absolute and keeps the ending that means something: / and /.
func absolute(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	switch {
	case name == "." || strings.HasSuffix(name, "/."):
		return strings.TrimSuffix(abs, "/") + "/.", nil
	case strings.HasSuffix(name, "/") && abs != "/":
		return abs + "/", nil
	}
	return abs, nil
}

func diffVerb() *verb {
	return &verb{
		name: "diff", summary: "Inspect changes to files or directories on a container's filesystem", usage: "CONTAINER", min: 1, max: 1, complete: "container",
		about: `A is added, C is changed, D is deleted.

Examples:
  $ mydocker diff web`,
		run: func(s *session, c *urfave.Context) error {
			files, err := s.filesOf(c.Args().First())
			if err != nil {
				return err
			}
			changes, err := files.changes()
			if err := errors.Join(err, files.close()); err != nil {
				return err
			}
			var b strings.Builder
			for _, change := range changes {
				fmt.Fprintf(&b, "%c %s\n", change.Kind, change.Path)
			}
			_, err = s.streams.Out.WriteString(b.String())
			return err
		},
	}
}

func exportVerb() *verb {
	return &verb{
		name: "export", summary: "Export a container's filesystem as a tar archive", usage: "[OPTIONS] CONTAINER", min: 1, max: 1, complete: "container",
		about: `Volumes are not part of it.

Examples:
  $ mydocker export -o web.tar web
  $ mydocker export web | mydocker import - flat`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{str("output,o", "file", "Write to a file, instead of STDOUT")}
		},
		run: func(s *session, c *urfave.Context) error {
			files, err := s.filesOf(c.Args().First())
			if err != nil {
				return err
			}
			defer files.close()
			return s.output(c.String("output"), func(ctx context.Context, w *os.File) (err error) {
				root, done, err := files.view()
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, done()) }()
				if err := image.Export(ctx, root, w); err != nil {
					return err
				}
				files.engine.ContainerEvent(files.definition, "export")
				return nil
			})
		},
	}
}

// output writes an archive into a file, which is complete or not there, or to standard output if that is no terminal.
func (s *session) output(name string, write func(ctx context.Context, w *os.File) error) error {
	ctx, stop := interruptible()
	defer stop()
	if name == "" {
		if isTerminal(s.streams.Out) {
			return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
		}
		return write(ctx, s.streams.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(ctx, f), f.Chmod(0o600), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
