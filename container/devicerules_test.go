package container

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The default devices are allowed once: not again where the config says so, and behind what forbids them.
func TestDefaultDevicesAreAllowedOnce(t *testing.T) {
	defaults := len(DefaultDeviceRules())
	null := int64(1)
	deny := specs.LinuxDeviceCgroup{Type: "c", Major: &null, Access: "rwm"}
	more := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &null, Access: "r"}
	for name, c := range map[string]struct {
		have []specs.LinuxDeviceCgroup
		want int
	}{
		"none":                    {nil, defaults},
		"ours":                    {DefaultDeviceRules(), defaults},
		"ours and one more":       {append(DefaultDeviceRules(), more), defaults + 1},
		"ours, and one forbidden": {append(DefaultDeviceRules(), deny), defaults + 1 + defaults - 1},
		"an engine's":             {[]specs.LinuxDeviceCgroup{{Access: "rwm"}}, defaults},
	} {
		if got := withDefaultDevices(&specs.LinuxResources{Devices: c.have}).Devices; len(got) != c.want {
			t.Errorf("%s: %d rules, want %d: %v", name, len(got), c.want, got)
		}
	}
}
