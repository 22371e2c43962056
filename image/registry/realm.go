package registry

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// A registry that wants a token says where the token is given out: its realm, a URL. The library refuses a realm that is an address of
// a private network, because a hostile registry could have us knock at machines that only we reach. A registry that
// stands in such a network itself (a lab's, a company's) is not hostile for saying so. The library's rule has no exception; so for these
// registries the realm's address is called by a name towards the library, and by its address towards the network.
type privateRealms struct {
	inner http.RoundTripper

	mu        sync.Mutex
	addresses map[string]string // by the name that stands for it
}

// realmSuffix is of names that cannot exist: RFC 2606.
const realmSuffix = ".token-server.invalid"

func (p *privateRealms) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Hostname(), realmSuffix) {
		p.mu.Lock()
		address := p.addresses[r.URL.Host]
		p.mu.Unlock()
		r = r.Clone(r.Context())
		r.URL.Host, r.Host = address, address
	}
	response, err := p.inner.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		challenges := response.Header.Values("WWW-Authenticate")
		for i, challenge := range challenges {
			challenges[i] = p.rename(challenge)
		}
	}
	return response, err
}

// rename puts a name into a challenge in the place of a private address: RFC 6750, section 3.
func (p *privateRealms) rename(challenge string) string {
	return regexp.MustCompile(`(?i)\brealm="([^"]*)"`).ReplaceAllStringFunc(challenge, func(parameter string) string {
		u, err := url.Parse(strings.Trim(parameter[len("realm="):], `"`))
		if err != nil || !isPrivate(u.Hostname()) {
			return parameter
		}
		address := u.Host
		u.Host = strings.ReplaceAll(u.Hostname(), ":", "-") + realmSuffix
		if _, port, err := net.SplitHostPort(address); err == nil {
			u.Host += ":" + port
		}
		p.mu.Lock()
		p.addresses[u.Host] = address
		p.mu.Unlock()
		return `realm="` + u.String() + `"`
	})
}

// isPrivate says of a host without its port whether it is an address that only this machine or its network knows. What clouds
// tell their machines at link-local addresses is nobody's token server.
func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return isLoopback(host) || ip != nil && ip.IsPrivate()
}

// mayHavePrivateRealm: the registry is in a private network itself, or whoever manages this machine trusts it that far.
func (c *Client) mayHavePrivateRealm(e endpoint) bool {
	host := e.host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return e.insecure || isPrivate(strings.Trim(host, "[]"))
}
