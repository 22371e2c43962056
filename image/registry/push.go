package registry

import (
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/mydocker/mydocker/image"
)

// PushOptions say how far a push tells what it does.
type PushOptions struct {
	Progress image.Progress
}

// Push sends an image to the registry that its name tells. Layers that were stored unpacked are packed first, and stay
// so, so that the image has the same digest here and there. It returns the digest of the manifest.
func (c *Client) Push(ctx context.Context, store *image.Store, ref string, o PushOptions) (image.Digest, error) {
	parsed, err := image.ParseReference(ref)
	if err != nil {
		return "", err
	}
	if parsed.Digest != "" {
		return "", fmt.Errorf("push %s: a digest cannot be pushed to; name a tag", ref)
	}
	hold, err := store.Hold()
	if err != nil {
		return "", err
	}
	defer hold.Release()
	img, err := store.Pack(ctx, parsed.String())
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	if err := c.push(ctx, store, parsed, img.Manifest, o); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, explain(parsed.Domain, err))
	}
	return img.Manifest, store.SetDigest(parsed)
}

func (c *Client) push(ctx context.Context, store *image.Store, ref image.Reference, manifest image.Digest, o PushOptions) error {
	e := endpoint{host: ref.Domain, insecure: c.insecure(ref.Domain)}
	server, err := c.registry(e)
	if err != nil {
		return err
	}
	if len(ref.Path) < 2 {
		return fmt.Errorf("registries take repository names of two characters or more, not %q", ref.Path)
	}
	path, err := layout.FromPath(store.LayoutDir())
	if err != nil {
		return err
	}
	hash, err := v1.NewHash(manifest.String())
	if err != nil {
		return err
	}
	img, err := path.Image(hash)
	if err != nil {
		return err
	}
	base, err := c.transport(e)
	if err != nil {
		return err
	}
	return remote.Write(server.Repo(ref.Path).Tag(ref.Tag), &watchedImage{Image: img, progress: o.Progress}, remote.WithContext(ctx), remote.WithAuthFromKeychain(c.keychain),
		remote.WithTransport(base), remote.WithUserAgent(c.options.UserAgent), remote.WithJobs(4))
}

// watchedImage tells how far the reading of its layers is.
type watchedImage struct {
	v1.Image
	progress image.Progress
}

func (w *watchedImage) Layers() ([]v1.Layer, error) {
	layers, err := w.Image.Layers()
	if err != nil || w.progress == nil {
		return layers, err
	}
	for i, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		id := image.Digest(digest.String()).Short()
		w.progress(image.Event{ID: id, Status: "Preparing"})
		layers[i] = &watchedLayer{Layer: l, tell: func(status string, current int64) {
			w.progress(image.Event{ID: id, Status: status, Current: current, Total: size})
		}}
	}
	return layers, nil
}

type watchedLayer struct {
	v1.Layer
	tell func(status string, current int64)
}

func (w *watchedLayer) Compressed() (io.ReadCloser, error) {
	r, err := w.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return &watchedReader{ReadCloser: r, tell: w.tell, pushed: sync.OnceFunc(func() { w.tell("Pushed", 0) })}, nil
}

type watchedReader struct {
	io.ReadCloser
	tell   func(status string, current int64)
	pushed func()
	read   int64
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.read += int64(n)
	if n > 0 {
		w.tell("Pushing", w.read)
	}
	if err == io.EOF {
		w.pushed()
	}
	return n, err
}
