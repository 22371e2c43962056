package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/image"
)

func imageGroup() *verb {
	return group("image", "Manage images",
		bootstrapVerb(),
		historyVerb(),
		importVerb(),
		inspectKind("image", "Display detailed information on one or more images", "IMAGE [IMAGE...]", `Examples:
  $ mydocker image inspect -f '{{json .Config.Cmd}}' busybox`),
		loadVerb(),
		imagesVerb().as("ls", "list"),
		imagePruneVerb(),
		pullVerb(),
		pushVerb(),
		rmiVerb().as("rm", "remove"),
		saveVerb(),
		settleVerb(),
		tagVerb(),
	)
}

func bootstrapVerb() *verb {
	return &verb{
		name: "bootstrap", summary: "Make a first image without a registry", usage: "[OPTIONS]",
		about: `busybox:latest is made from the host's static busybox, without any network; with --from debian, a small Debian from
its packages, by mmdebstrap or debootstrap.

Examples:
  $ mydocker image bootstrap
  $ mydocker image bootstrap --from debian --suite bookworm
  $ mydocker image bootstrap --busybox /tmp/busybox -t tiny:1`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("busybox", "file", "The statically linked busybox (default: where Debian, Alpine and others have it)"),
				strDefault("from", "string", "busybox", `What to make the image of ("busybox", "debian")`),
				str("mirror", "url", "Debian: where the packages come from (default: what mmdebstrap or debootstrap takes)"),
				yes("quiet,q", "Print nothing but the image's ID"),
				str("suite", "string", "Debian: release (default stable)"),
				str("tag,t", "string", "Name of the image (default busybox:latest, or debian:SUITE)"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o := image.BootstrapOptions{From: c.String("from"), Busybox: c.String("busybox"), Suite: c.String("suite"), Mirror: c.String("mirror"),
				Reference: c.String("tag")}
			if o.From != "busybox" && o.From != "debian" {
				return s.bad(fmt.Errorf("--from %q is not known: busybox or debian", o.From))
			}
			if o.From == "busybox" && o.Suite+o.Mirror != "" || o.From == "debian" && o.Busybox != "" {
				return s.bad(fmt.Errorf("conflicting options: --suite and --mirror are for --from debian, --busybox for --from busybox"))
			}
			if !c.Bool("quiet") {
				o.Log = s.streams.Err
			}
			images, err := s.images()
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			img, err := images.Bootstrap(ctx, o)
			if err != nil {
				return err
			}
			s.imageMade("import", img, o.Reference)
			s.settleLater()
			if c.Bool("quiet") {
				_, err = fmt.Fprintln(s.streams.Out, img.ID)
				return err
			}
			return s.printLoaded([]*image.Image{img})
		},
	}
}

func (s *session) images() (*image.Store, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	return e.Images()
}

func importVerb() *verb {
	return &verb{
		name: "import", summary: "Import the contents from a tarball to create a filesystem image",
		usage: "[OPTIONS] file|- [REPOSITORY[:TAG]]", min: 1, max: 2, complete: "file image",
		about: `The archive may be compressed with gzip, bzip2, xz or zstd.

Examples:
  $ mydocker import rootfs.tar.xz debian:mine
  $ tar -C rootfs -c . | mydocker import -c 'CMD ["/bin/sh"]' - mine`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				list("change,c", "Apply Dockerfile instruction to the created image"),
				str("message,m", "string", "Set commit message for imported image"),
				str("platform", "string", "Set platform if server is multi-platform capable"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			source, reference := c.Args().Get(0), c.Args().Get(1)
			if strings.Contains(source, "://") {
				return &usageError{s.verb, fmt.Sprintf("import from %s is not supported: fetch it with curl and pipe it in: curl -L URL | mydocker import - NAME", source), 1}
			}
			if reference != "" {
				if _, err := image.ParseReference(reference); err != nil {
					return &usageError{s.verb, err.Error(), 1}
				}
			}
			in, err := s.open(source)
			if err != nil {
				return err
			}
			defer in.Close()
			images, err := s.images()
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			img, err := images.Import(ctx, in, image.ImportOptions{Reference: reference, Message: c.String("message"),
				Changes: c.StringSlice("change"), Platform: c.String("platform")})
			if err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
			s.imageMade("import", img, reference)
			s.settleLater()
			_, err = fmt.Fprintln(s.streams.Out, img.ID)
			return err
		},
	}
}

// open opens a file, or standard input for "-". Standard input that is a terminal is a mistake.
func (s *session) open(name string) (io.ReadCloser, error) {
	if name != "-" {
		return os.Open(name)
	}
	if isTerminal(s.streams.In) {
		return nil, fmt.Errorf("standard input is a terminal; give a file, or pipe the archive in")
	}
	return io.NopCloser(s.streams.In), nil
}

func loadVerb() *verb {
	return &verb{
		name: "load", summary: "Load an image from a tar archive or STDIN", usage: "[OPTIONS]",
		about: `Archives of "docker save", OCI archives and OCI layout directories can be loaded.

Examples:
  $ mydocker load -i nginx.tar
  $ skopeo copy docker://nginx oci-archive:nginx.tar && mydocker load -i nginx.tar
  $ docker save nginx | mydocker load`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("input,i", "file", "Read from tar archive file, instead of STDIN"),
				platformFlag("Load only this platform's image of an archive that has several"),
				yes("quiet,q", "Suppress the load output"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			if !c.IsSet("input") && isTerminal(s.streams.In) {
				return &usageError{s.verb, "requested load from stdin, but stdin is empty: give a file with -i", 1}
			}
			platform := c.String("platform")
			if _, err := image.ParsePlatform(platform); err != nil {
				return s.bad(err)
			}
			images, err := s.images()
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			var loaded []*image.Image
			if path := c.String("input"); c.IsSet("input") {
				loaded, err = images.Load(ctx, path, platform)
			} else {
				loaded, err = images.LoadStream(ctx, s.streams.In, platform)
			}
			if err != nil {
				return err
			}
			for _, img := range loaded {
				s.imageEvent("load", img, string(img.ID))
			}
			s.settleLater()
			return s.printLoaded(loaded)
		},
	}
}

// printLoaded says what was loaded, as Docker does.
func (s *session) printLoaded(loaded []*image.Image) error {
	for _, img := range loaded {
		names := img.RepoTags
		if len(names) == 0 {
			if _, err := fmt.Fprintln(s.streams.Out, "Loaded image ID:", img.ID); err != nil {
				return err
			}
		}
		for _, name := range names {
			if _, err := fmt.Fprintln(s.streams.Out, "Loaded image:", name); err != nil {
				return err
			}
		}
	}
	return nil
}

func tagVerb() *verb {
	return &verb{
		name: "tag", summary: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", min: 2, max: 2, complete: "image",
		about: `Examples:
  $ mydocker tag busybox:latest registry.local:5000/tools/busybox:1`,
		run: func(s *session, c *urfave.Context) error {
			images, err := s.images()
			if err != nil {
				return err
			}
			if err := images.Tag(c.Args().Get(0), c.Args().Get(1)); err != nil {
				return err
			}
			img, err := images.Get(c.Args().Get(1))
			if err == nil { // else it was removed at once
				s.imageEvent("tag", img, familiar(c.Args().Get(1)))
			}
			return nil
		},
	}
}

func rmiVerb() *verb {
	return &verb{
		name: "rmi", summary: "Remove one or more images", usage: "[OPTIONS] IMAGE [IMAGE...]", min: 1, max: -1, complete: "image",
		about: `An image that a container was made from stays; remove the container first.

Examples:
  $ mydocker rmi busybox:old`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("force,f", "Force removal of the image"),
				yes("no-prune", "Do not delete untagged parents (there are none here: what no image needs is removed)"),
				list("platform", "Remove the image only if it is made for this platform"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.each(c.Args().Slice(), func(ref string) (err error) {
				if c.Bool("force") { // as with Docker, what is not there is told and is no failure
					defer func() {
						if errors.Is(err, fs.ErrNotExist) {
							s.report(err)
							err = nil
						}
					}()
				}
				for _, platform := range c.StringSlice("platform") {
					if err := s.wantPlatform(platform, ref); err != nil {
						return err
					}
				}
				removed, err := e.RemoveImage(context.Background(), ref, c.Bool("force"))
				for _, r := range removed {
					line := "Untagged: " + r.Untagged
					if r.Deleted != "" {
						line = "Deleted: " + r.Deleted
					}
					if _, err := fmt.Fprintln(s.streams.Out, line); err != nil {
						return err
					}
				}
				return err
			})
		},
	}
}
