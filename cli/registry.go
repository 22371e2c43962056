package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
)

// registryFlags say how registries may be spoken to.
func registryFlags() []urfave.Flag {
	return []urfave.Flag{
		yes("insecure", "Allow plain HTTP, and certificates that nobody vouches for"),
		yesDefault("tls-verify", true, "Verify the registry's certificate"),
	}
}

// request is something to do at a registry, with what the flags say of the way there; c may be nil.
func (s *session) request(c *urfave.Context, verb string) remote.Request {
	r := remote.Request{Verb: verb, Root: s.root, UserAgent: "mydocker/" + s.version}
	if c != nil {
		r.Insecure, r.SkipTLSVerify = c.Bool("insecure"), c.IsSet("tls-verify") && !c.Bool("tls-verify")
	}
	return r
}

func pullVerb() *verb {
	return &verb{
		name: "pull", summary: "Download an image from a registry", usage: "[OPTIONS] NAME[:TAG|@DIGEST]", min: 1, max: 1, complete: "image",
		about: `Layers are downloaded side by side, verified, and unpacked while they arrive; an interrupted pull goes on where it was.
Credentials come from ~/.docker/config.json and its helpers, mirrors from /etc/mydocker/registries.json.

Examples:
  $ mydocker pull nginx:alpine
  $ mydocker pull --platform linux/arm64 -q debian
  $ mydocker pull -a localhost:5000/team/tool
  $ mydocker pull localhost:5000/team/tool@sha256:0123…`,
		flags: func() []urfave.Flag {
			return append(registryFlags(),
				yes("all-tags,a", "Download all tagged images in the repository"),
				str("platform", "string", "Set platform if server is multi-platform capable"),
				yes("quiet,q", "Suppress verbose output"),
			)
		},
		run: pull,
	}
}

func pull(s *session, c *urfave.Context) error {
	ref, err := image.ParseReference(c.Args().First())
	if err != nil {
		return s.bad(err)
	}
	refs, quiet := []image.Reference{ref}, c.Bool("quiet")
	name, status := ref.String(), ref.Familiar()
	if c.Bool("all-tags") {
		if namesTag(c.Args().First(), ref) {
			return s.bad(errors.New("tag can't be used with --all-tags/-a"))
		}
		if refs, err = s.tagsThere(c, ref); err != nil {
			return err
		}
		name, status = ref.Name(), ref.FamiliarName()
	}
	r := s.request(c, "pull")
	r.Platform = c.String("platform")
	fresh := false
	for _, ref := range refs {
		fetched, err := s.pull(r, ref, quiet)
		if err != nil {
			return err
		}
		fresh = fresh || fetched.Fresh
		if !quiet {
			fmt.Fprintf(s.streams.Out, "Digest: %s\n", fetched.Digest)
		}
	}
	if !quiet {
		state := "Image is up to date for"
		if fresh {
			state = "Downloaded newer image for"
		}
		fmt.Fprintf(s.streams.Out, "Status: %s %s\n", state, status)
	}
	_, err = fmt.Fprintln(s.streams.Out, name)
	return err
}

// namesTag says whether a reference was given with its tag, or a digest: all tags are asked for without.
func namesTag(given string, ref image.Reference) bool {
	return ref.Digest != "" || strings.HasSuffix(given, ":"+ref.Tag)
}

// tagsThere lists the names that an image repository has at its registry.
func (s *session) tagsThere(c *urfave.Context, repository image.Reference) ([]image.Reference, error) {
	ctx, stop := interruptible()
	defer stop()
	r := s.request(c, "tags")
	r.Ref = repository.String()
	answer, err := atRegistry(ctx, r, nil)
	refs := make([]image.Reference, len(answer.Tags))
	for i, tag := range answer.Tags {
		refs[i] = repository
		refs[i].Tag = tag
	}
	return refs, err
}

// pull fetches an image and shows how far it is.
func (s *session) pull(r remote.Request, ref image.Reference, quiet bool) (remote.Answer, error) {
	if !quiet {
		what := ref.Tag
		if ref.Digest != "" {
			what = ref.Digest.String()
		}
		fmt.Fprintf(s.streams.Err, "%s: Pulling from %s\n", what, ref.Path)
	}
	ctx, stop := interruptible()
	defer stop()
	tell, done := s.watcher(quiet)
	defer done()
	r.Ref = ref.String()
	fetched, err := atRegistry(ctx, r, tell)
	if err == nil {
		s.registryEvent("pull", ref)
	}
	if err == nil && fetched.Stored {
		s.settleLater()
	}
	return fetched, err
}

// pullPolicy is when and what `run` and `create` pull.
type pullPolicy struct {
	platform string // os/architecture[/variant]; "" is the host's
	quiet    bool
}

func readPull(c *urfave.Context) (pullPolicy, error) {
	p := pullPolicy{platform: c.String("platform"), quiet: c.Bool("quiet")}
	_, err := image.ParsePlatform(p.platform)
	return p, err
}

// withImage does what needs an image, and pulls the image as --pull says: always before, or when it turns out to be missing.
// So a `run` of an image that is there never thinks of registries.
func (s *session) withImage(o *engine.CreateOptions, p pullPolicy, do func() error) error {
	policy := o.Pull
	if p.platform != "" && policy == "missing" {
		fits, err := s.isForPlatform(o.Image, p.platform)
		if err != nil {
			return err
		}
		if !fits {
			policy = "always"
		}
	}
	if policy == "never" {
		if err := s.wantPlatform(p.platform, o.Image); err != nil {
			return &engine.ExitError{Code: 125, Err: err}
		}
	}
	if policy == "always" {
		o.Pull = "never"
		if err := s.pullFor(o.Image, p); err != nil {
			return &engine.ExitError{Code: 125, Err: err}
		}
	}
	err := do()
	if policy != "missing" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	store, storeErr := s.images()
	if storeErr != nil {
		return err
	}
	if _, imageErr := store.Get(o.Image); !errors.Is(imageErr, fs.ErrNotExist) {
		return err // something else was missing
	}
	if !p.quiet {
		fmt.Fprintf(s.streams.Err, "Unable to find image '%s' locally\n", familiar(o.Image))
	}
	if err := s.pullFor(o.Image, p); err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	return do()
}

func (s *session) pullFor(name string, p pullPolicy) error {
	ref, err := image.ParseReference(name)
	if err != nil {
		return err
	}
	r := s.request(nil, "pull")
	r.Platform = p.platform
	if _, err = s.pull(r, ref, p.quiet); err != nil || p.platform == "" {
		return err
	}
	fits, err := s.isForPlatform(name, p.platform)
	if err == nil && !fits { // a registry that has one image only sends that one
		err = fmt.Errorf("image %s is not to be had for the platform %s", ref.Familiar(), p.platform)
	}
	return err
}

func familiar(name string) string {
	if ref, err := image.ParseReference(name); err == nil {
		return ref.Familiar()
	}
	return name
}

func pushVerb() *verb {
	return &verb{
		name: "push", summary: "Upload an image to a registry", usage: "[OPTIONS] NAME[:TAG]", min: 1, max: 1, complete: "image",
		about: `Examples:
  $ mydocker tag busybox localhost:5000/tools/busybox:1
  $ mydocker push localhost:5000/tools/busybox:1
  $ mydocker push -a localhost:5000/tools/busybox`,
		flags: func() []urfave.Flag {
			return append(registryFlags(),
				yes("all-tags,a", "Push all tags of an image to the repository"),
				platformFlag("Push the image only if it is made for this platform"),
				yes("quiet,q", "Suppress verbose output"),
			)
		},
		run: push,
	}
}

func push(s *session, c *urfave.Context) error {
	ref, err := image.ParseReference(c.Args().First())
	if err != nil {
		return s.bad(err)
	}
	store, err := s.images()
	if err != nil {
		return err
	}
	refs := []image.Reference{ref}
	if c.Bool("all-tags") {
		if namesTag(c.Args().First(), ref) {
			return s.bad(errors.New("tag can't be used with --all-tags/-a"))
		}
		if refs, err = tagsOf(store, ref); err != nil {
			return err
		}
	}
	for _, ref := range refs {
		if err := s.wantPlatform(c.String("platform"), ref.String()); err != nil {
			return err
		}
	}
	quiet := c.Bool("quiet")
	ctx, stop := interruptible()
	defer stop()
	for _, ref := range refs {
		if !quiet {
			fmt.Fprintf(s.streams.Err, "The push refers to repository [%s]\n", ref.Name())
		}
		tell, done := s.watcher(quiet)
		r := s.request(c, "push")
		r.Ref = ref.String()
		pushed, err := atRegistry(ctx, r, tell)
		done()
		if err != nil {
			return err
		}
		s.settleLater() // its layers may have been packed for it
		s.registryEvent("push", ref)
		line := fmt.Sprintf("%s: digest: %s", ref.Tag, pushed.Digest)
		if quiet {
			line = ref.String()
		}
		if _, err := fmt.Fprintln(s.streams.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// tagsOf lists the names that an image repository has here.
func tagsOf(store *image.Store, repository image.Reference) ([]image.Reference, error) {
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	var refs []image.Reference
	for _, img := range all {
		for _, name := range img.RepoTags {
			if ref, err := image.ParseReference(name); err == nil && ref.Name() == repository.Name() {
				refs = append(refs, ref)
			}
		}
	}
	if len(refs) == 0 {
		return nil, fmt.Errorf("an image does not exist locally with the tag: %s", repository.FamiliarName())
	}
	return refs, nil
}

// createWithImage is engine.Create, with the image pulled as --pull says.
func (s *session) createWithImage(ctx context.Context, e *engine.Engine, o engine.CreateOptions, p pullPolicy) (id string, warnings []string, err error) {
	err = s.withImage(&o, p, func() (err error) {
		id, warnings, err = e.Create(ctx, o)
		return err
	})
	return id, warnings, err
}
