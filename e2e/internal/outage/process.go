// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// patience is the timeout for expected events. It is far longer than they take.
const patience = 2 * time.Minute

// Process is a running program.
type Process struct {
	*exec.Cmd
	exited chan struct{}
	err    error // set before exited is closed
}

// Start starts a program.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// Eventually waits for a condition. It fails if the program ends first.
func (p *Process) Eventually(ctx context.Context, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", p.Path, p.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // Between two checks.
		}
	}
}

// Stop asks the program to end, as Ctrl-C does, and waits until it has. It returns an [exec.ExitError] if the exit code is not 0.
func (p *Process) Stop() error {
	_ = p.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s did not end", p.Path)
	}
	return p.err
}

// Kill kills the program, and returns when all of its output has been read.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Signal sends a signal to the program or, if the program has a process group of its own, to the whole group.
func (p *Process) Signal(s syscall.Signal) error {
	if p.SysProcAttr == nil || !p.SysProcAttr.Setpgid {
		return p.Process.Signal(s)
	}
	return syscall.Kill(-p.Process.Pid, s)
}

// FreePorts finds unused ports. It holds them all until it has found the last one, so that they differ.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Loopback returns the loopback address of a port.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Get returns the response of an HTTP server. The code is 0 if there is no response.
func Get(address, path string) (code int, body []byte, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// ReadPage reads a collector's metrics.
func ReadPage(address string) (Page, error) {
	code, body, err := Get(address, "/metrics")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("read the collector's metrics: status %d", code)
	}
	if err != nil {
		return nil, err
	}
	return ParsePage(body)
}
