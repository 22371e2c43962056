package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Error is a registry's refusal or a failure to reach it, with the way out.
type Error struct {
	Message   string
	Err       error
	permanent bool
	absent    bool
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Permanent says that trying again gives the same.
func (e *Error) Permanent() bool { return e.permanent }

// Is makes an unknown name an fs.ErrNotExist.
func (e *Error) Is(target error) bool { return target == fs.ErrNotExist && e.absent }

// explain turns what the libraries say about a host into a sentence with the cause and the way out.
func explain(host string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		return explainStatus(host, refused)
	}
	e := &Error{Err: err}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	plainTried := strings.Contains(err.Error(), "; Get \"http://") && !errors.Is(err, errPlain)
	switch {
	case errors.As(err, &unknown), errors.As(err, &wrongHost), errors.As(err, &invalid):
		e.permanent = true
		e.Message = fmt.Sprintf("registry %s shows a certificate that cannot be trusted: %s; put its authority's certificate into /etc/docker/certs.d/%s/ca.crt, or give --tls-verify=false", host, cause(err), host)
	case (errors.As(err, &record) || strings.Contains(err.Error(), http.ErrSchemeMismatch.Error())) && !plainTried:
		e.permanent = true
		e.Message = fmt.Sprintf("registry %s does not speak TLS; give --insecure, or name it under \"insecure-registries\", if that is intended", host)
	case strings.Contains(err.Error(), "tls: certificate required"), strings.Contains(err.Error(), "tls: bad certificate"):
		e.permanent = true
		e.Message = wantsCertificate(host, cause(err))
	case strings.Contains(err.Error(), "invalid realm"):
		e.permanent = true
		e.Message = fmt.Sprintf("registry %s sends us for a token to a place where a registry has no business: %s; if that is intended, name it under \"insecure-registries\"", host, cause(err))
	case errors.As(err, &dns):
		e.Message = fmt.Sprintf("the name of registry %s cannot be resolved: %s; check the spelling and the host's DNS", host, cause(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = fmt.Sprintf("nothing listens at registry %s: %s; check its name and port, and whether it runs", host, cause(err))
	default:
		e.Message = fmt.Sprintf("registry %s cannot be reached: %s; check the host's network, and HTTPS_PROXY if there is a proxy", host, cause(err))
	}
	return e
}

// cause is the text of what went wrong. After a failure the library tries plain HTTP with every private address, which
// plainGuard refuses; that is not what went wrong.
func cause(err error) string {
	text := strings.ReplaceAll(err.Error(), realmSuffix, "")
	if errors.Is(err, errPlain) {
		text, _, _ = strings.Cut(text, "; Get \"http://")
	}
	return text
}

func wantsCertificate(host, why string) string {
	return fmt.Sprintf("registry %s wants a certificate of yours: %s; put it into /etc/docker/certs.d/%s/client.cert, and its key into client.key", host, why, host)
}

func explainStatus(host string, refused *transport.Error) error {
	e := &Error{Err: refused, permanent: true}
	if strings.Contains(refused.Error(), "HTTP request to an HTTPS server") { // the loopback: TLS failed, and plain HTTP was tried
		e.Message = wantsCertificate(host, "it speaks TLS only, and not with us")
		return e
	}
	switch refused.StatusCode {
	case http.StatusNotFound:
		e.absent = true
		e.Message = fmt.Sprintf("registry %s has nothing under this name and tag; check the spelling (%v)", host, refused)
	case http.StatusUnauthorized:
		e.Message = fmt.Sprintf("registry %s denies access: the name does not exist there, or it needs `mydocker login %s` (%v)", host, host, refused)
	case http.StatusForbidden:
		e.Message = fmt.Sprintf("registry %s denies access with these credentials (%v); `mydocker login %s` changes them", host, refused, host)
	case http.StatusTooManyRequests:
		e.permanent = false
		e.Message = fmt.Sprintf("registry %s asks to come back later, it has had too many requests (%v); `mydocker login` may raise the limit", host, refused)
	default:
		e.permanent = refused.StatusCode < 500
		e.Message = fmt.Sprintf("registry %s refuses: %v", host, refused)
	}
	return e
}
