package container

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOptions is what the words of a mount's options mean to the kernel.
type mountOptions struct {
	set, clear  uint64    // MOUNT_ATTR_ bits of the mount itself
	below       attribute // … and of everything below it
	propagation uint64    // MS_ bits
	bind        bool
	recursive   bool
	remount     bool
	copyUp      bool
	idmap       bool     // owners are shown through a mapping
	idmapRec    bool     // … and those of everything mounted below
	readonly    bool     // the superblock itself: "ro" for a new file system
	data        []string // for the file system
}

type attribute struct{ set, clear uint64 }

// then is one change of attributes and after it another: the later word wins.
func (a attribute) then(b attribute) attribute {
	return attribute{set: a.set&^b.clear | b.set, clear: a.clear&^b.set | b.clear}
}

// pack puts both into one number of a step: the kernel's bits stay below 32.
func (a attribute) pack() uint64 { return a.set | a.clear<<32 }

func unpack(n uint64) attribute { return attribute{set: n & (1<<32 - 1), clear: n >> 32} }

// recursiveAttribute is mountAttribute for the words with an r in front, which count for all that is mounted below, too.
func recursiveAttribute(word string) (attribute, bool) {
	word, recursive := strings.CutPrefix(word, "r")
	if !recursive {
		return attribute{}, false
	}
	if word == "norelatime" || word == "nostrictatime" {
		return attribute{clear: unix.MOUNT_ATTR__ATIME}, true // back to what the kernel does anyway, as runc does it
	}
	return mountAttribute(word)
}

// mountAttribute maps a word to bits of mount_setattr(2). The access-time words exclude each other, so each clears them all.
func mountAttribute(word string) (attribute, bool) {
	switch word {
	case "ro":
		return attribute{set: unix.MOUNT_ATTR_RDONLY}, true
	case "rw":
		return attribute{clear: unix.MOUNT_ATTR_RDONLY}, true
	case "nosuid":
		return attribute{set: unix.MOUNT_ATTR_NOSUID}, true
	case "suid":
		return attribute{clear: unix.MOUNT_ATTR_NOSUID}, true
	case "nodev":
		return attribute{set: unix.MOUNT_ATTR_NODEV}, true
	case "dev":
		return attribute{clear: unix.MOUNT_ATTR_NODEV}, true
	case "noexec":
		return attribute{set: unix.MOUNT_ATTR_NOEXEC}, true
	case "exec":
		return attribute{clear: unix.MOUNT_ATTR_NOEXEC}, true
	case "nosymfollow":
		return attribute{set: unix.MOUNT_ATTR_NOSYMFOLLOW}, true
	case "symfollow":
		return attribute{clear: unix.MOUNT_ATTR_NOSYMFOLLOW}, true
	case "nodiratime":
		return attribute{set: unix.MOUNT_ATTR_NODIRATIME}, true
	case "diratime":
		return attribute{clear: unix.MOUNT_ATTR_NODIRATIME}, true
	case "noatime":
		return attribute{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}, true
	case "strictatime":
		return attribute{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}, true
	case "relatime", "atime":
		return attribute{set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME}, true
	}
	return attribute{}, false
}

func propagationFlag(word string) (uint64, bool) {
	flag, ok := map[string]uint64{
		"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE,
	}[strings.TrimPrefix(word, "r")]
	if ok && strings.HasPrefix(word, "r") {
		flag |= unix.MS_REC
	}
	return flag, ok
}

func propagationName(flag uint64) string {
	name := map[uint64]string{
		unix.MS_PRIVATE: "private", unix.MS_SLAVE: "slave", unix.MS_SHARED: "shared", unix.MS_UNBINDABLE: "unbindable",
	}[flag&^unix.MS_REC]
	if flag&unix.MS_REC != 0 {
		name = "r" + name
	}
	return name
}

// parseMountOptions reads fstab-style words: mount(8), runtime-spec config.md "Linux mount options".
func parseMountOptions(words []string) (mountOptions, error) {
	var o mountOptions
	for _, word := range words {
		if flag, ok := propagationFlag(word); ok {
			o.propagation = flag
			continue
		}
		if a, ok := mountAttribute(word); ok {
			own := attribute{o.set, o.clear}.then(a)
			o.set, o.clear = own.set, own.clear
			o.readonly = o.set&unix.MOUNT_ATTR_RDONLY != 0
			continue
		}
		if a, ok := recursiveAttribute(word); ok {
			o.below = o.below.then(a)
			continue
		}
		switch word {
		case "bind":
			o.bind = true
		case "rbind":
			o.bind, o.recursive = true, true
		case "remount":
			o.remount = true
		case "tmpcopyup":
			o.copyUp = true
		case "defaults", "async", "nolazytime", "silent", "loud", "norelatime", "nostrictatime", "nomand", "noiversion":
			// What the kernel does anyway, or a word that means "not" something that we never set.
		case "idmap":
			o.idmap = true
		case "ridmap":
			o.idmap, o.idmapRec = true, true
		default:
			o.data = append(o.data, word)
		}
	}
	return o, nil
}

// optionText is " -o a,b,c" for a step that mounts.
func optionText(s step) string {
	var words []string
	below := unpack(s.Num[numAttrBelow])
	for _, w := range []string{"ro", "nosuid", "nodev", "noexec", "nosymfollow", "nodiratime", "noatime", "strictatime"} {
		a, _ := mountAttribute(w)
		if s.Num[numAttrSet]&a.set == a.set {
			words = append(words, w)
		}
		if below.set&a.set == a.set {
			words = append(words, "r"+w)
		}
	}
	for _, w := range []string{"rw", "suid", "dev", "exec", "symfollow", "diratime"} {
		if a, _ := mountAttribute(w); below.clear&a.clear == a.clear {
			words = append(words, "r"+w)
		}
	}
	if below.clear&unix.MOUNT_ATTR__ATIME != 0 && below.set&unix.MOUNT_ATTR__ATIME == 0 {
		words = append(words, "rrelatime")
	}
	if p := s.Num[numPropagation]; p != 0 {
		words = append(words, propagationName(p))
	}
	words = append(words, s.Data...)
	if len(words) == 0 {
		return ""
	}
	return " -o " + quote(strings.Join(words, ","))
}

func major(dev uint64) uint32 { return unix.Major(dev) }
func minor(dev uint64) uint32 { return unix.Minor(dev) }

// MountOptions are the words that the runtime understands itself, and those that the kernel understands for every file system; others
// are handed to the file system.
func MountOptions() []string {
	list := []string{
		"bind", "rbind", "remount", "tmpcopyup", "defaults", "async", "nolazytime", "silent", "loud", "norelatime", "nostrictatime", "nomand",
		"noiversion", "idmap", "ridmap", "rnorelatime", "rnostrictatime", "sync", "dirsync", "lazytime", "mand",
	}
	for _, w := range []string{"private", "slave", "shared", "unbindable"} {
		list = append(list, w, "r"+w)
	}
	for _, w := range []string{
		"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "nosymfollow", "symfollow", "nodiratime", "diratime",
		"noatime", "strictatime", "relatime", "atime",
	} {
		list = append(list, w, "r"+w)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
