package container

// Adopt makes this process the container's parent again after it has replaced itself by execve(2): that keeps the children
// and forgets everything else. It must only be called by the process that created the container, after Start.
func (c *Container) Adopt() {
	c.process = &initProcess{pid: c.state.Pid, conn: conn{-1}, console: -1, started: true}
}
