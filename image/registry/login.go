package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// hubKey is the name under which Docker has always kept the credentials of docker.io.
const hubKey = "https://index.docker.io/v1/"

func credentialsKey(server string) string {
	if server == "" || server == "docker.io" || server == "index.docker.io" || server == "registry-1.docker.io" {
		return hubKey
	}
	return server
}

// loadConfig reads Docker's own file, so that one login serves both: $DOCKER_CONFIG/config.json or ~/.docker/config.json.
func loadConfig() (*configfile.ConfigFile, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find the home directory, in which the credentials are kept: %w", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	file, err := config.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("read the credentials in %s: %w", dir, err)
	}
	return file, nil
}

// Login asks the registry whether it takes the credentials, and only then keeps them: in the credential helper that
// ~/.docker/config.json names, else in that file, as `docker login` does. It returns where they were put. Without credentials it
// asks about those that are kept; if there are none, the error is an fs.ErrNotExist.
func (c *Client) Login(ctx context.Context, server, username, password string) (string, error) {
	key := credentialsKey(server)
	file, err := loadConfig()
	if err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	store := file.GetCredentialsStore(key)
	given := types.AuthConfig{Username: username, Password: password, ServerAddress: key}
	if username == "" && password == "" {
		if given, err = store.Get(key); err != nil {
			return "", fmt.Errorf("login: %w", err)
		}
		if given.Username == "" && given.IdentityToken == "" {
			return "", &Error{absent: true, Message: "login: no credentials are kept for this registry; give a user name and a password"}
		}
	} else if username == "" || password == "" {
		return "", errors.New("login: both a user name and a password are needed")
	}
	host := server
	if host == "" {
		host = "docker.io"
	}
	e := endpoint{host: host, insecure: c.insecure(host)}
	if err := c.checkCredentials(ctx, e, authn.FromConfig(authn.AuthConfig{Username: given.Username, Password: given.Password, IdentityToken: given.IdentityToken})); err != nil {
		return "", fmt.Errorf("login to %s: %w", host, err)
	}
	if username == "" {
		return file.GetFilename(), nil
	}
	if err := store.Store(given); err != nil {
		return "", fmt.Errorf("login: keep the credentials: %w", err)
	}
	return file.GetFilename(), nil
}

func (c *Client) checkCredentials(ctx context.Context, e endpoint, auth authn.Authenticator) error {
	server, err := c.registry(e)
	if err != nil {
		return err
	}
	base, err := c.transport(e)
	if err != nil {
		return err
	}
	rt, err := transport.NewWithContext(ctx, server, auth, base, nil)
	if err != nil {
		return explainLogin(e.host, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.Scheme()+"://"+server.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: rt}).Do(request)
	if err != nil {
		return explainLogin(e.host, err)
	}
	defer response.Body.Close()
	return explainLogin(e.host, transport.CheckError(response, http.StatusOK))
}

func explainLogin(host string, err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden) {
		return &Error{Err: err, permanent: true, Message: fmt.Sprintf("registry %s does not take this user name and password (%v)", host, refused)}
	}
	return explain(host, err)
}

// Logout forgets the credentials of a registry. It says whether there were any.
func Logout(server string) (bool, error) {
	file, err := loadConfig()
	if err != nil {
		return false, fmt.Errorf("logout: %w", err)
	}
	key := credentialsKey(server)
	store := file.GetCredentialsStore(key)
	known, err := store.Get(key)
	if err != nil {
		return false, fmt.Errorf("logout: %w", err)
	}
	if known == (types.AuthConfig{}) {
		return false, nil
	}
	if err := store.Erase(key); err != nil {
		return false, fmt.Errorf("logout: %w", err)
	}
	return true, nil
}
