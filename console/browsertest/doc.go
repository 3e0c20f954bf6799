// Package browsertest tries the console in a real browser, headless Chromium: by mouse
// and by keyboard, with JavaScript and without, for faults of the policy and of
// accessibility. It is a module of its own, so that no host gets what it needs.
package browsertest
