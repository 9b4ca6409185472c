// go_client IDLE_SECONDS URLS LANES REQUESTS GAPS BODY
//
// The arguments after the first are those of trial.rs. Each lane has its own Transport with the
// default settings, except that IdleConnTimeout is IDLE_SECONDS if that is not 0.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const stagger = 4 * time.Millisecond
const timeout = 20 * time.Second

func main() {
	idleSeconds := number(os.Args[1])
	urls := strings.Split(os.Args[2], ",")
	lanes, requests := number(os.Args[3]), number(os.Args[4])
	var gaps []time.Duration
	for _, gap := range strings.Split(os.Args[5], ",") {
		gaps = append(gaps, time.Duration(number(gap))*time.Millisecond)
	}
	body := os.Args[6]

	var lock sync.Mutex
	answered, lost, errors := 0, 0, map[string]int{}
	lane := func(l int) {
		client := newClient(idleSeconds)
		for k := 0; k < requests; k++ {
			if k > 0 {
				time.Sleep(gaps[(l+k)%len(gaps)])
			}
			err := fetch(client, urls[l%len(urls)], body)
			lock.Lock()
			if err == nil {
				answered++
			} else {
				lost++
				errors[err.Error()]++
			}
			lock.Unlock()
		}
	}
	var running sync.WaitGroup
	for l := 0; l < lanes; l++ {
		running.Add(1)
		go func(l int) {
			defer running.Done()
			lane(l)
		}(l)
		time.Sleep(stagger)
	}
	running.Wait()

	fmt.Printf("version=%s\n", runtime.Version())
	for text, count := range errors {
		fmt.Printf("error=%d %s\n", count, text)
	}
	fmt.Printf("answered=%d lost=%d\n", answered, lost)
}

func newClient(idleSeconds int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if idleSeconds > 0 {
		transport.IdleConnTimeout = time.Duration(idleSeconds) * time.Second
	}
	return &http.Client{Transport: transport, Timeout: timeout}
}

func fetch(client *http.Client, url, body string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	if string(got) != body {
		return fmt.Errorf("another body")
	}
	return nil
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}
