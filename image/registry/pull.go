package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/mydocker/mydocker/image"
)

// PullOptions say what is pulled.
type PullOptions struct {
	Platform string // os/architecture[/variant]; "" is the host's
	Progress image.Progress
}

// Pull fetches an image into a store: name, name:tag or name@digest.
func (c *Client) Pull(ctx context.Context, store *image.Store, ref string, o PullOptions) (*image.Fetched, error) {
	name, err := image.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	return store.Fetch(ctx, name, image.FetchOptions{Remote: c, Platform: o.Platform, Progress: o.Progress})
}

// Tags lists the tags that a repository has, at the first server that has it: GET /v2/<name>/tags/list, page by page. A
// repository without any is an fs.ErrNotExist.
func (c *Client) Tags(ctx context.Context, ref string) ([]string, error) {
	name, err := image.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	tags, err := firstOf(ctx, c.endpoints(name), func(e endpoint) ([]string, error) { return c.tagsAt(ctx, e, name) })
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", name.FamiliarName(), err)
	}
	return tags, nil
}

func (c *Client) tagsAt(ctx context.Context, e endpoint, ref image.Reference) ([]string, error) {
	server, err := c.registry(e)
	if err != nil {
		return nil, err
	}
	base, err := c.transport(e)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(server.Repo(ref.Path), remote.WithContext(ctx), remote.WithAuthFromKeychain(c.keychain), remote.WithTransport(base),
		remote.WithUserAgent(c.options.UserAgent))
	if err == nil && len(tags) == 0 {
		err = &Error{absent: true, permanent: true, Message: fmt.Sprintf("registry %s has no tag of it", e.host)}
	}
	return tags, explain(e.host, err)
}

// firstOf asks servers in their order until one answers. What counts in the end is what the registry itself says; a mirror that has
// nothing or is down is passed over.
func firstOf[T any](ctx context.Context, servers []endpoint, ask func(endpoint) (T, error)) (answer T, err error) {
	for _, e := range servers {
		if answer, err = ask(e); err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return answer, context.Cause(ctx)
		}
	}
	return answer, err // the registry itself is the last
}

// accepted are the media types that a manifest may have.
func accepted() string {
	return strings.Join([]string{
		"application/vnd.oci.image.index.v1+json",
		"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.docker.distribution.manifest.v2+json",
	}, ", ")
}

// Manifest is GET /v2/<name>/manifests/<tag or digest>, at the first server that has it.
func (c *Client) Manifest(ctx context.Context, ref image.Reference) ([]byte, error) {
	return firstOf(ctx, c.endpoints(ref), func(e endpoint) ([]byte, error) {
		data, err := c.manifestAt(ctx, e, ref)
		if err == nil {
			c.choose(ref, e)
		}
		return data, err
	})
}

// maxManifest is more than a registry takes, in bytes.
const maxManifest = 8 << 20

func (c *Client) manifestAt(ctx context.Context, e endpoint, ref image.Reference) ([]byte, error) {
	what := ref.Tag
	if ref.Digest != "" {
		what = ref.Digest.String()
	}
	response, err := c.get(ctx, e, ref, "/manifests/"+what, http.Header{"Accept": {accepted()}}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	if err != nil {
		return nil, explain(e.host, err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("registry %s sends a manifest of more than %d bytes", e.host, maxManifest)
	}
	return data, nil
}

// choose remembers where a repository was found.
func (c *Client) choose(ref image.Reference, e endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chosen[ref.Name()] = e
}

// Blob is GET /v2/<name>/blobs/<digest>, where the manifest was found. A mirror may have a manifest without all of its layers,
// or go down meanwhile: then those that come after it are asked, the registry itself at last.
func (c *Client) Blob(ctx context.Context, ref image.Reference, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	list := c.endpoints(ref)
	c.mu.Lock()
	if i := slices.Index(list, c.chosen[ref.Name()]); i > 0 {
		list = list[i:]
	}
	c.mu.Unlock()
	for i, e := range list {
		body, err := c.blobAt(ctx, e, ref, d, offset)
		if err == nil && i > 0 {
			c.choose(ref, e)
		}
		if err == nil || ctx.Err() != nil || !e.mirror {
			return body, err
		}
	}
	return nil, fmt.Errorf("nobody to ask for %s", ref.Familiar()) // the last one is no mirror
}

// blobAt asks one server, from an offset on by a Range header. A server that knows no ranges is read from the start.
func (c *Client) blobAt(ctx context.Context, e endpoint, ref image.Reference, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	response, err := c.get(ctx, e, ref, "/blobs/"+d.Digest.String(), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return nil, err
	}
	if offset > 0 && response.StatusCode == http.StatusPartialContent && !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		response.Body.Close()
		return nil, fmt.Errorf("registry %s answers with the range %q instead of from %d", e.host, response.Header.Get("Content-Range"), offset)
	}
	if offset > 0 && response.StatusCode == http.StatusOK {
		if _, err := io.CopyN(io.Discard, response.Body, offset); err != nil {
			response.Body.Close()
			return nil, explain(e.host, err)
		}
	}
	return response.Body, nil
}

func (c *Client) get(ctx context.Context, e endpoint, ref image.Reference, path string, header http.Header, codes ...int) (*http.Response, error) {
	s, err := c.session(ctx, e, ref.Path, transport.PullScope)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := s.client.Do(request)
	if err != nil {
		return nil, explain(e.host, err)
	}
	if err := transport.CheckError(response, codes...); err != nil {
		response.Body.Close()
		return nil, explain(e.host, err)
	}
	return response, nil
}
