package container

import (
	"fmt"
	"strings"
)

// A step is one thing that init does, as data. The creator makes the list from the bundle before anything is done
// (steps_build.go); init only walks along it. What is explained is therefore what is done.
type step struct {
	Kind   stepKind
	Target string   // a path in the container, or a name
	Source string   // a path on the host, or a value
	Type   string   // a file system's type
	Data   []string // options of the file system, or arguments
	Num    [6]uint64
	Reason string
}

type stepKind uint64

const (
	stepUnshareCgroup stepKind = iota + 1
	stepLoopback
	stepPropagation     // Num[0]: flags for mount(2), made on the host's tree as this namespace has copied it
	stepRoot            // Source: the directory; Num[0]: 1 if a detached mount was handed over
	stepMount           // a file system: Type, Source, Target, Data; attributes and propagation in Num
	stepBind            // Source onto Target
	stepCgroup1         // Type: controller; Source: group's directory on the host; Target
	stepDevice          // Target; Num: mode, dev, uid, gid
	stepDeviceBind      // in a user namespace mknod is refused: the host's node is bound
	stepSymlink         // Source is the link's text; Target
	stepConsole         // open a terminal in the container's devpts
	stepConsoleDevice   // bind it to /dev/console
	stepReadonlyPath    // Target
	stepMaskPath        // Target
	stepRootPropagation // Num[0]
	stepReadonlyRoot
	stepPivot
	stepChroot // Num[0]: 1 if the root is not moved over / first
	stepHostname
	stepDomainname
	stepSysctl // Target = Source
	stepMakeCwd
	stepHooks         // asks the creator to run its hooks
	stepContainerHook // runs one in the container's namespaces: Target its kind, Source path, Data args; Num[0] timeout; env in Type
	stepPersonality   // Type: its name; Num[0]
	stepScheduler     // Data[0]: struct sched_attr
	stepIOPriority    // Num[0]
	stepMemoryPolicy  // Num[0]: mode and flags; Data[0]: mask of nodes
	stepKeyring
	stepRlimit // Num: resource, soft, hard
	stepUmask
	stepNoNewPrivs
	stepSeccomp
	stepBounding // Num[0]: the set
	stepUser     // Num: uid, gid, groupsStay or groupsTried; Data: groups
	stepCapabilities
	stepProcHandle    // opens the host's /proc
	stepAppArmor      // Source: the profile
	stepTimeNamespace // Source: path, or "" for a new one; Data: its offsets
	stepRemount
	stepSELinux // Source: the label
	stepFork    // only exec: the process is born into the container's pid namespace; Num[0]: 1 if it has a terminal
)

// Attributes of a mount in Num.
const (
	numAttrSet     = 0 // MOUNT_ATTR_ bits to set
	numAttrClear   = 1 // MOUNT_ATTR_ bits to clear
	numPropagation = 2 // MS_ bits, with MS_REC
	numRecursive   = 3 // bind with what is mounted below
	numAttrBelow   = 4 // what to set and to clear on the whole tree: attribute.pack
	numFlags       = 5
)

const (
	flagCreateFile = 1 << iota // the mount point is a file
	flagCopyUp                 // tmpfs starts with what the mount point holds
	flagNoSymlink              // the mount point itself may not be reached through a symlink
	flagHandedOver             // what is bound comes from the creator, as a detached mount
)

// throughProc says whether the last program needs the host's /proc for a step.
func throughProc(s step) bool { return s.Kind == stepAppArmor || s.Kind == stepSELinux }

// handedOver marks a step whose mount is the nth of those that the creator sends.
func (s *step) handedOver(n int) { s.Num[numFlags] |= flagHandedOver | uint64(n)<<16 }

// handed is that number, or -1.
func (s *step) handed() int {
	if s.Num[numFlags]&flagHandedOver == 0 {
		return -1
	}
	return int(s.Num[numFlags] >> 16)
}

func (s step) Why() string { return s.Reason }

// Command is the shell command that the step equals, seen from inside the container's mount namespace before pivot_root,
// with $ROOT for the root file system's directory.
func (s step) Command() string {
	target := "$ROOT" + s.Target
	switch s.Kind {
	case stepUnshareCgroup:
		return "unshare --cgroup"
	case stepLoopback:
		return "ip link set lo up"
	case stepPropagation:
		return "mount --make-" + propagationName(s.Num[0]) + " /"
	case stepRoot:
		if s.Num[0] == 1 {
			return "mount --move OVERLAY " + s.Source + "; ROOT=" + s.Source
		}
		return "mount --rbind " + s.Source + " " + s.Source + "; ROOT=" + s.Source
	case stepMount:
		return "mount -t " + s.Type + optionText(s) + " " + quote(s.Source) + " " + quote(target)
	case stepBind, stepCgroup1:
		verb := "--bind"
		if s.Num[numRecursive] != 0 {
			verb = "--rbind"
		}
		return "mount " + verb + optionText(s) + " " + quote(s.Source) + " " + quote(target)
	case stepDevice:
		return deviceCommand(s, target)
	case stepDeviceBind:
		return "touch " + target + "; mount --bind " + s.Source + " " + target
	case stepRemount:
		return "mount -o remount,bind" + strings.Replace(optionText(s), " -o ", ",", 1) + " " + target
	case stepSymlink:
		return "ln -s " + s.Source + " " + target
	case stepReadonlyPath:
		return "mount --rbind " + target + " " + target + "; mount -o remount,bind,ro " + target
	case stepMaskPath:
		return "mount --bind /dev/null " + target + " || mount -t tmpfs -o ro tmpfs " + target
	}
	return s.simpleCommand()
}

func (s step) simpleCommand() string {
	switch s.Kind {
	case stepConsole:
		return "# open /dev/ptmx of the container; pass its other end to the creator; setsid --ctty"
	case stepConsoleDevice:
		return "touch $ROOT/dev/console; mount --bind $ROOT/dev/pts/0 $ROOT/dev/console"
	case stepRootPropagation:
		return "mount --make-" + propagationName(s.Num[0]) + " $ROOT"
	case stepReadonlyRoot:
		return "mount -o remount,bind,ro $ROOT"
	case stepPivot:
		return "cd $ROOT; pivot_root . .; umount -l ."
	case stepChroot:
		if s.Num[0] == 1 {
			return "chroot $ROOT"
		}
		return "cd $ROOT; mount --move . /; chroot ."
	case stepHostname:
		return "hostname " + quote(s.Source)
	case stepDomainname:
		return "domainname " + quote(s.Source)
	case stepSysctl:
		return "sysctl -w " + quote(s.Target+"="+s.Source)
	case stepMakeCwd:
		return "mkdir -p " + quote(s.Target)
	case stepHooks:
		return "# the creator runs the hooks prestart and createRuntime"
	case stepContainerHook:
		return quote(append([]string{s.Source}, s.Data...)...)
	case stepUmask:
		return fmt.Sprintf("umask %04o", s.Num[0])
	case stepRlimit:
		return fmt.Sprintf("prlimit --pid $$ --%s=%s:%s", strings.ToLower(strings.TrimPrefix(s.Type, "RLIMIT_")), limitText(s.Num[1]), limitText(s.Num[2]))
	case stepNoNewPrivs:
		return "# prctl(PR_SET_NO_NEW_PRIVS): see `setpriv --no-new-privs`"
	case stepSeccomp:
		return "# seccomp(SECCOMP_SET_MODE_FILTER): see `grep Seccomp /proc/PID/status`"
	case stepBounding:
		return fmt.Sprintf("capsh --drop=…  # bounding set %#x", s.Num[0])
	case stepUser:
		if s.Num[2] == groupsStay {
			return fmt.Sprintf("setpriv --reuid=%d --regid=%d --keep-groups", s.Num[0], s.Num[1])
		}
		return fmt.Sprintf("setpriv --reuid=%d --regid=%d --groups=%s", s.Num[0], s.Num[1], strings.Join(s.Data, ","))
	case stepCapabilities:
		return fmt.Sprintf("# capset: permitted %#x, effective %#x, inheritable %#x, ambient %#x", s.Num[0], s.Num[1], s.Num[2], s.Num[3])
	case stepKeyring:
		return "keyctl new_session"
	}
	return s.processCommand()
}

// processCommand is for the steps that concern one process only.
func (s step) processCommand() string {
	switch s.Kind {
	case stepPersonality:
		return "setarch " + map[uint64]string{0: "$(uname -m)", 8: "linux32"}[s.Num[0]]
	case stepScheduler:
		return "chrt …  # sched_setattr: " + s.Type
	case stepIOPriority:
		return fmt.Sprintf("ionice -c %d -n %d", s.Num[2], s.Num[1])
	case stepMemoryPolicy:
		return fmt.Sprintf("numactl …  # set_mempolicy: %s %s", s.Type, s.Source)
	case stepAppArmor:
		return "aa-exec -p " + quote(s.Source)
	case stepSELinux:
		return "runcon " + quote(s.Source)
	case stepProcHandle:
		return "exec {PROC}< /proc"
	case stepTimeNamespace:
		if s.Source != "" {
			return "nsenter --time=" + quote(s.Source)
		}
		return "unshare --time  # " + strings.Join(s.Data, "; ") + " > /proc/self/timens_offsets"
	}
	return "# " + strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Type, s.Source, s.Target))
}

func deviceCommand(s step, target string) string {
	kind := map[uint64]string{0o020000: "c", 0o060000: "b", 0o010000: "p"}[s.Num[0]&0o170000]
	return fmt.Sprintf("mknod -m %o %s %s %d %d", s.Num[0]&0o7777, target, kind, major(s.Num[1]), minor(s.Num[1]))
}

func limitText(n uint64) string {
	if n == ^uint64(0) {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// quote makes words of a shell command: plain words stay as they are.
func quote(words ...string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`&|;<>()*?[]{}!#~") && !strings.HasPrefix(w, "$ROOT") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out[i] = w
	}
	return strings.Join(out, " ")
}

// initConfig is what init is told.
type initConfig struct {
	Watched    bool
	HasRootfs  bool // a detached root file system is among the descriptors
	HasBarrier bool // a listening socket and the runtime's directory are among the descriptors
	ExtraFiles int
	Steps      []step
	AfterStart []step // steps that belong between the barrier and the command
	Last       []step // steps that are left to the last program
	Args, Env  []string
	Cwd        string
	UID        uint64
	Terminal   bool
	Rows, Cols uint64
	Filter     []byte // a compiled seccomp filter
	FilterFlag uint64
	Trees      int // how many detached mounts come after the config

	trees []tree // the creator's own list of them
}

func (c *initConfig) encode() []byte {
	e := encoder{buf: make([]byte, 0, 8192)}
	e.bool(c.Watched)
	e.bool(c.HasRootfs)
	e.bool(c.HasBarrier)
	e.uint(uint64(c.ExtraFiles))
	encodeSteps(&e, c.Steps)
	encodeSteps(&e, c.AfterStart)
	encodeSteps(&e, c.Last)
	e.strings(c.Args)
	e.strings(c.Env)
	e.string(c.Cwd)
	e.uint(c.UID)
	e.bool(c.Terminal)
	e.uint(c.Rows)
	e.uint(c.Cols)
	e.string(string(c.Filter))
	e.uint(c.FilterFlag)
	e.uint(uint64(c.Trees))
	return e.buf
}

func decodeConfig(payload []byte) (*initConfig, error) {
	d := decoder{buf: payload}
	c := &initConfig{Watched: d.bool(), HasRootfs: d.bool(), HasBarrier: d.bool(), ExtraFiles: int(d.uint())}
	c.Steps = decodeSteps(&d)
	c.AfterStart = decodeSteps(&d)
	c.Last = decodeSteps(&d)
	c.Args, c.Env, c.Cwd, c.UID = d.strings(), d.strings(), d.string(), d.uint()
	c.Terminal, c.Rows, c.Cols = d.bool(), d.uint(), d.uint()
	c.Filter, c.FilterFlag, c.Trees = []byte(d.string()), d.uint(), int(d.uint())
	return c, d.err
}

func encodeSteps(e *encoder, list []step) {
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.uint(uint64(s.Kind))
		e.string(s.Target)
		e.string(s.Source)
		e.string(s.Type)
		e.strings(s.Data)
		for _, n := range s.Num {
			e.uint(n)
		}
	}
}

// decodeSteps leaves Reason empty: init does not need to know why.
func decodeSteps(d *decoder) []step {
	n := d.uint()
	if n > uint64(len(d.buf)) {
		d.buf, d.err = nil, errShortConfig
		return nil
	}
	list := make([]step, n)
	for i := range list {
		s := &list[i]
		s.Kind, s.Target, s.Source, s.Type, s.Data = stepKind(d.uint()), d.string(), d.string(), d.string(), d.strings()
		for j := range s.Num {
			s.Num[j] = d.uint()
		}
	}
	return list
}
