// Package engine is the story of a container, told as verbs: create, run, start, exec, stop, remove, gc.
//
// It is the only package that knows all the others, and the place where they meet: an image becomes a root file system, a
// network becomes the path of a namespace, both go into an OCI bundle, and the container package runs that bundle. Read
// create.go, start.go and monitor.go in this order; then release.go, which undoes all of it.
//
// Nothing here prints. Errors are sentences; those that decide the exit status of the command line are *ExitError.
package engine

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Config is what an engine needs to know about its surroundings.
type Config struct {
	Root state.Root
	// Watch sees every kernel operation; nil costs nothing. With a watcher, steps that otherwise run side by side run one
	// after the other, so that what is shown has an order.
	Watch plan.Watcher
	// Firewall is the backend for new rules: "" for the default, iptables or nftables.
	Firewall string
	// Warn is told what the user should know although nothing failed; nil tells nobody.
	Warn func(message string)
	// Executable is the program that is started again as monitor, reaper and init; "" means this one.
	Executable string
}

// Engine is the verbs. It holds no lock and no state of its own: two engines on the same root, in one process or in two,
// work together through the records.
type Engine struct {
	Config
	config   network.Config // /etc/mydocker/daemon.json
	networks *network.Manager
	runtime  *container.Runtime
	images   func() (*image.Store, error)
}

// Open makes an engine, for root only. It has no effect: directories are made by whoever first writes into them.
func Open(c Config) (*Engine, error) {
	e, err := open(c)
	if err == nil {
		err = e.readConfig()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// open leaves the configuration file to be read.
func open(c Config) (*Engine, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	if c.Executable == "" {
		c.Executable = "/proc/self/exe"
	}
	for _, dir := range []*string{&c.Root.Lib, &c.Root.Run} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, err
		}
		*dir = abs
	}
	if c.Root.NetNS == "" {
		c.Root.NetNS = state.DefaultRoot().NetNS
	}
	e := &Engine{Config: c}
	e.runtime = &container.Runtime{Root: filepath.Join(c.Root.Run, "containers"), Executable: c.Executable, Watch: c.Watch}
	e.images = sync.OnceValues(func() (*image.Store, error) {
		return image.Open(c.Root, image.Options{Watch: c.Watch, Warn: c.Warn})
	})
	return e, nil
}

// readConfig reads the configuration file. A process that stays reads it before each start of its container, which
// is to have what the file says now.
func (e *Engine) readConfig() error {
	config, err := readNetworkConfig()
	if err == nil {
		e.use(config)
	}
	return err
}

func readNetworkConfig() (network.Config, error) { return network.ReadConfig(network.ConfigPath()) }

// use lets a configuration be in force.
func (e *Engine) use(config network.Config) {
	c := e.Config
	e.config = config
	e.networks = network.Open(network.Options{Root: c.Root, Watch: c.Watch, Firewall: c.Firewall, Config: config, Reread: readNetworkConfig, Warn: c.Warn, Hold: e.holdRunning})
}

// Images is the image store.
func (e *Engine) Images() (*image.Store, error) { return e.images() }

// Networks is the network manager.
func (e *Engine) Networks() *network.Manager { return e.networks }

// Runtime is the OCI runtime under the engine.
func (e *Engine) Runtime() *container.Runtime { return e.runtime }

// needRoot is the first question of every verb that touches the kernel.
func needRoot() error {
	if os.Geteuid() != 0 {
		return &ExitError{Code: 125, Err: errNotRoot}
	}
	return nil
}
