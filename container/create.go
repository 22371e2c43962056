package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/container/seccomp"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Create brings a container up to its start barrier: recorded, in its group, everything mounted, the command found.
// An error leaves nothing behind. fs.ErrExist: the id is in use.
//
// What does not depend on each other goes side by side: init's own start-up (a Go program needs a millisecond for it),
// the making of the cgroup, and the caller's Rootfs.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) (_ *Container, err error) {
	j, err := r.newJob(o)
	if err != nil {
		return nil, err
	}
	c := j.container
	if err := j.record(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.undo())
		}
	}()
	if err := j.bringUp(ctx); err != nil {
		return nil, fmt.Errorf("create container %s: %w", shortID(o.ID), err)
	}
	return c, nil
}

// createJob is one Create on its way.
type createJob struct {
	runtime   *Runtime
	options   CreateOptions
	spec      *specs.Spec
	config    *initConfig
	rootPath  string
	container *Container
	group     cgroups.Manager
	v2        bool
	filter    *seccomp.Filter
	rootfs    *os.File
	listener  *os.File
}

func (r *Runtime) newJob(o CreateOptions) (*createJob, error) {
	if err := errors.Join(checkID(o.ID), checkPidFile(o.PidFile)); err != nil {
		return nil, err
	}
	spec := o.Spec
	if spec == nil {
		var err error
		if spec, err = LoadSpec(o.Bundle); err != nil {
			return nil, err
		}
	}
	err := Validate(spec)
	if err == nil {
		err = checkUser(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if spec, err = fit(spec); err != nil {
		return nil, err
	}
	bundle, err := filepath.Abs(o.Bundle)
	if err != nil {
		return nil, err
	}
	root := spec.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(bundle, root)
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		if err == nil {
			err = unix.ENOTDIR
		}
		return nil, fmt.Errorf("config.json: root.path: %s is not a directory: %w", root, err)
	}
	group, scope, err := r.openGroup(spec, &o)
	if err != nil {
		return nil, err
	}
	v2, err := cgroups.IsV2()
	if err != nil {
		return nil, err
	}
	self, err := readStatFile("/proc/self/stat")
	if err != nil {
		return nil, err
	}
	if spec.Linux.MountLabel != "" && !HasSELinux() {
		r.warn(errors.New("linux.mountLabel: this host has no SELinux, the label means nothing"))
	}
	name, filter, err := r.filter(spec.Linux.Seccomp)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	c := &Container{runtime: r, spec: spec, state: State{
		ID: o.ID, Bundle: bundle, Rootfs: root, Cgroup: group.Path(), Scope: scope, Creator: os.Getpid(), CreatorStart: self.start,
		Created: time.Now().UTC(), Annotations: spec.Annotations, Seccomp: name,
		KernelFaces: spec.Linux.Personality != nil || spec.Linux.MemoryPolicy != nil,
		Hooks:       spec.Hooks != nil && len(spec.Hooks.Poststart)+len(spec.Hooks.Poststop) > 0,
	}}
	if hasEarlyHooks(spec) {
		c.state.Phase = Creating
	}
	if sharesMounts(spec) {
		if c.state.RootMount, err = mountID(root); err != nil {
			return nil, err
		}
	}
	return &createJob{runtime: r, options: o, spec: spec, rootPath: root, container: c, group: group, v2: v2, filter: filter}, nil
}

// record takes the id: of several who try, one succeeds. From here on somebody knows of whatever will exist.
func (j *createJob) record() error {
	data, err := json.MarshalIndent(j.container.state, "", "  ")
	if err != nil {
		return err
	}
	err = state.Claim(j.runtime.statePath(j.options.ID), string(data)+"\n")
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("container %q: %w", j.options.ID, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("record container %s: %w", j.options.ID, err)
	}
	return nil
}

func (j *createJob) undo() error {
	if p := j.container.process; p != nil {
		p.abandon()
	}
	if j.rootfs != nil {
		j.rootfs.Close()
	}
	if j.listener != nil {
		j.listener.Close()
	}
	return j.runtime.remove(j.container)
}

func (j *createJob) bringUp(ctx context.Context) error {
	if err := j.launchAndPrepare(); err != nil {
		return err
	}
	p, config := j.container.process, j.config
	if err := j.addHookState(config); err != nil {
		return err
	}
	p.command = j.spec.Process.Args[0]
	p.steps, p.watch, p.last = append(config.Steps, config.AfterStart...), j.runtime.Watch, config.Last
	p.listen = j.container.sendListener
	p.hooks = func() error {
		s := j.container.OCIState()
		// prestart is older than the status "creating", and its programs expect what they were told then.
		s.Status = specs.StateCreated
		//lint:ignore SA1019 deprecated for those who write configs; a runtime has to run them
		err := runHooks(j.spec.Hooks.Prestart, "prestart", s)
		s.Status = specs.StateCreating
		return errors.Join(err, runHooks(j.spec.Hooks.CreateRuntime, "createRuntime", s))
	}
	if err := errors.Join(j.keepConfig(), j.recordProcess()); err != nil {
		return err
	}
	if err := j.moveNetDevices(); err != nil {
		return err
	}
	if p.direct != nil {
		p.direct.hooks = p.hooks
		if err := p.furnish(ctx, j.rootfs); err != nil {
			return err
		}
		return errors.Join(j.letGoOfRootfs(), j.handOver())
	}
	if err := j.sendConfig(config); err != nil {
		return err
	}
	if err := p.converse(ctx); err != nil {
		return err
	}
	return j.handOver()
}

// makeConfig lists the steps. The groups are there: which controllers they have decides what is mounted.
func (j *createJob) makeConfig() (err error) {
	rootPath := j.rootPath
	if j.options.Rootfs != nil && hasUserNS(j.spec) {
		rootPath = "/" // init is nobody on the host, who may not look into every directory
	}
	if j.config, err = buildConfig(j.spec, rootPath, j.hostFacts(), j.runtime.warn); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	j.config.Watched = j.runtime.Watch != nil
	j.config.ExtraFiles = len(j.options.ExtraFiles)
	j.config.HasBarrier = j.options.Detach
	if j.filter != nil {
		j.config.Filter, j.config.FilterFlag = j.filter.Code, j.filter.Flags
	}
	return nil
}

// launchAndPrepare does side by side what can be.
func (j *createJob) launchAndPrepare() error {
	rootfs := make(chan error, 1)
	go func() { rootfs <- j.callRootfs() }()
	// Born in its group: the group must be there first. The limits follow, because on v1 the thread that gives birth
	// counts in the group for a moment (a limit of one process would forbid the birth).
	release, err := j.holdScope()
	if err == nil {
		err = j.makeGroup()
	}
	if err == nil {
		err = j.makeConfig()
	}
	if err == nil {
		err = j.launch()
	}
	release()
	if err == nil {
		err = j.group.Set(withDefaultDevices(j.spec.Linux.Resources))
	}
	return errors.Join(err, <-rootfs)
}

func (j *createJob) callRootfs() (err error) {
	if j.options.Rootfs != nil {
		j.rootfs, err = j.options.Rootfs()
	}
	return wrap("root file system", err)
}

func (j *createJob) launch() error {
	files, null, err := stdio(j.options.Stdin, j.options.Stdout, j.options.Stderr)
	if err != nil {
		return err
	}
	if null != nil {
		defer null.Close()
	}
	files = append(files, j.options.ExtraFiles...)
	var cgroup *os.File
	prepare := j.group.AddSelf
	if j.v2 {
		prepare = nil // clone3 does it
		if cgroup, err = j.group.Dir(); err != nil {
			return err
		}
		defer cgroup.Close()
	}
	executable := j.runtime.Executable
	if executable == "" {
		executable = "/proc/self/exe"
	}
	release, err := j.lendIDs()
	if err != nil {
		return err
	}
	defer release()
	b := birthOf(j.spec)
	if j.options.UserNS != "" {
		b.user, b.clone = j.options.UserNS, b.clone&^unix.CLONE_NEWUSER
	}
	if err := giveStreams(files[:3], j.spec); err != nil {
		return err
	}
	return plan.Do(j.runtime.Watch, b, func() error {
		p, err := j.start(executable, b, files, cgroup, prepare)
		if err == nil && p.forks {
			p, err = p.awaitBirth()
		}
		if err != nil {
			return cgroups.ExplainBirth(j.group, err)
		}
		j.container.process = p
		j.container.state.Pid = p.pid
		stat, err := readStat(p.pid)
		j.container.state.Start = stat.start
		return err
	})
}

// start goes the direct way where it serves.
func (j *createJob) start(executable string, b birth, files []*os.File, cgroup *os.File, prepare func() error) (*initProcess, error) {
	if !j.goesDirect(j.config) {
		return launch(executable, b, files, cgroup, prepare, j.spec)
	}
	return launchDirect(j.config, b, files, cgroup, prepare)
}

// stdio fills what is missing with /dev/null.
func stdio(in, out, errOut *os.File) (files []*os.File, null *os.File, err error) {
	files = []*os.File{in, out, errOut}
	for i, f := range files {
		if f != nil {
			continue
		}
		if null == nil {
			if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
				return nil, nil, err
			}
		}
		files[i] = null
	}
	return files, null, nil
}

func (j *createJob) hostFacts() hostFacts {
	h := hostFacts{labels: j.spec.Linux.MountLabel != "" && HasSELinux(), cgroupV2: j.v2, cgroupPath: j.container.state.Cgroup, detached: j.options.Rootfs != nil, bundle: j.container.state.Bundle, noPivot: j.options.NoPivot, keepKeyring: j.options.NoNewKeyring, sources: j.options.Sources}
	if !j.v2 {
		h.controllers = cgroups.Controllers(j.group)
	}
	return h
}

// keepConfig copies the configuration for what comes later: hooks, and exec's defaults.
func (j *createJob) keepConfig() error {
	if !j.options.KeepConfig && !j.container.state.Hooks {
		return nil
	}
	return state.ReplaceJSON(filepath.Join(j.runtime.dir(j.options.ID), keptConfig), j.spec, state.Volatile)
}

// recordProcess says which process it is, while that still starts up: before it has done anything.
func (j *createJob) recordProcess() error {
	if err := j.container.record(); err != nil {
		return err
	}
	if adj := j.spec.Process.OOMScoreAdj; adj != nil {
		path := "/proc/" + strconv.Itoa(j.container.state.Pid) + "/oom_score_adj"
		op := plan.Step{Cmd: fmt.Sprintf("echo %d > %s", *adj, path), Reason: "how readily the kernel kills it when memory is out"}
		return plan.Do(j.runtime.Watch, op, func() error { return os.WriteFile(path, []byte(strconv.Itoa(*adj)), 0) })
	}
	return nil
}

func (j *createJob) sendConfig(config *initConfig) error {
	var files []int
	if j.rootfs != nil {
		files = append(files, int(j.rootfs.Fd()))
	}
	if j.options.Detach {
		dir, err := j.openBarrier()
		if err != nil {
			return err
		}
		defer dir.Close()
		files = append(files, int(j.listener.Fd()), int(dir.Fd()))
	}
	if err := j.container.process.conn.send(msgConfig, config.encode(), files...); err != nil {
		return j.container.process.premature(err)
	}
	if err := j.letGoOfRootfs(); err != nil {
		return err
	}
	return j.sendTrees(config.trees)
}

// letGoOfRootfs closes the handle of a root file system that the container has now.
func (j *createJob) letGoOfRootfs() error {
	f := j.rootfs
	j.rootfs = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
