package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// crowd is how many callers race for one thing.
const crowd = 50

// pair returns two managers on the data of the case, each on a handle of its own,
// as two processes would have.
func (e env) pair(t *testing.T, options ...userkit.Option) (*desk, *desk) {
	t.Helper()
	d := e.desk(t, options...)
	return d, d.beside(t, e.second(t), options...)
}

// contest makes the call from many goroutines at once, on both managers in turn.
func contest[T any](d, e *desk, call func(m userkit.Manager, i int) (T, error)) []answer[T] {
	return together(crowd, func(i int) (T, error) {
		if i%2 == 0 {
			return call(d, i)
		}
		return call(e, i)
	})
}

// insist repeats a call for as long as the user keeps changing under it, which
// callers may do with what has a key.
func insist[T any](call func() (T, error)) (T, error) {
	for {
		value, err := call()
		if !errors.Is(err, userkit.ErrConflict) {
			return value, err
		}
	}
}

// requireCounters demands that a user's counters say what its records say.
func (d *desk) requireCounters(t *testing.T, id userkit.UserID) {
	t.Helper()
	p := d.picture(t, id)
	open, used := 0, int64(0)
	for _, session := range p.Sessions {
		if session.Active() {
			open++
		}
	}
	for _, day := range p.Usage {
		used += day.Received + day.Sent
	}
	require.Equal(t, len(p.Devices), p.User.Devices)
	require.Equal(t, open, p.User.OpenSessions)
	require.Equal(t, used, p.User.Traffic.Used)
	d.requireLedger(t, id)
}

func concurrencyGroups() []group {
	return []group{{"Concurrency", slices.Concat(deviceRaces(), moneyRaces(), otherRaces(), []testCase{
		{"a random mix of everything leaves books and counters that add up", mixedWorkload},
		{"histories of refills, charges, cancels and reads are linearizable", linearizability},
	})}}
}

func deviceRaces() []testCase {
	return []testCase{
		{"exactly one gets the last device slot", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t, withLicense(fiveDevices))
			for range 4 {
				d.register(t, user.ID, userkit.NewDevice{})
			}
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Device, error) {
				return m.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{Name: fmt.Sprint(i), HardwareID: fmt.Sprint("hw-", i)})
			}), userkit.ErrRefused, userkit.CodeDeviceLimit)
			require.Len(t, won, 1)
			require.Len(t, d.devices(t, user.ID), 5)
			d.requireCounters(t, user.ID)
			d.authenticate(t, won[0].AccessToken)
		}},
		{"replacing devices never leaves more than the license allows", func(t *testing.T, env env) {
			d, e := env.pair(t, userkit.WithDevicePolicy(userkit.DeviceReplaceOldest))
			user := d.signUp(t, withLicense(twoDevices))
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Device, error) {
				return m.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
			}), userkit.ErrConflict, userkit.CodeTooManyConflicts)
			require.NotEmpty(t, won)
			good := 0
			for _, device := range won {
				if _, err := d.Authenticate(t.Context(), device.AccessToken); err == nil {
					good++
				} else {
					requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
				}
			}
			require.Equal(t, min(2, len(won)), good)
			require.Len(t, d.devices(t, user.ID), good)
		}},
		{"one hardware id stays one device, of which one token is good", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t, withLicense(oneDevice))
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Device, error) {
				return m.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{HardwareID: "hw"})
			}), userkit.ErrConflict, userkit.CodeTooManyConflicts)
			require.NotEmpty(t, won)
			good := 0
			for _, device := range won {
				require.Equal(t, won[0].ID, device.ID)
				if _, err := d.Authenticate(t.Context(), device.AccessToken); err == nil {
					good++
				}
			}
			require.Equal(t, 1, good)
			require.Len(t, d.devices(t, user.ID), 1)
			require.Equal(t, 1, d.user(t, user.ID).Devices)
		}},
		{"a push token is that of one device, whoever sets it at the same moment", func(t *testing.T, env env) {
			d, e := env.pair(t)
			ada, bob := d.signUp(t), d.signUp(t)
			devices := []userkit.Device{d.register(t, ada.ID, userkit.NewDevice{}), d.register(t, bob.ID, userkit.NewDevice{})}
			for _, made := range values(t, together(8, func(i int) (userkit.Device, error) {
				manager := []userkit.Manager{d, e}[i%2]
				if i < 4 {
					return manager.UpdateDevice(t.Context(), devices[i/2].ID, userkit.DevicePatch{PushToken: userkit.Set("app")})
				}
				return manager.RegisterDevice(t.Context(), []userkit.UserID{ada.ID, bob.ID}[i/2%2], userkit.NewDevice{PushToken: "app"})
			})) {
				require.Equal(t, "app", made.PushToken)
			}
			holders := 0
			for _, device := range slices.Concat(d.devices(t, ada.ID), d.devices(t, bob.ID)) {
				if device.PushToken == "app" {
					holders++
				}
			}
			require.Equal(t, 1, holders)
			d.requireCounters(t, ada.ID)
			d.requireCounters(t, bob.ID)
		}},
		{"a device is deleted once", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			d.register(t, user.ID, userkit.NewDevice{})
			won := succeeded(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.Device, error) {
				return m.DeleteDevice(t.Context(), device.ID)
			}), userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			require.Len(t, won, 1)
			d.requireCounters(t, user.ID)
		}},
	}
}

func moneyRaces() []testCase {
	return []testCase{
		{"exactly one gets the last money", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			d.refill(t, user.ID, 100, "refill")
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Transaction, error) {
				return m.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(100), Key: fmt.Sprint("key ", i)})
			}), userkit.ErrRefused, userkit.CodeInsufficientBalance)
			require.Len(t, won, 1)
			d.requireBalance(t, user.ID, 0)
			d.requireLedger(t, user.ID)
		}},
		{"as many charges pass as the money is enough for", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			d.refill(t, user.ID, 100, "refill")
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Transaction, error) {
				return insist(func() (userkit.Transaction, error) {
					return m.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(30), Key: fmt.Sprint("key ", i)})
				})
			}), userkit.ErrRefused, userkit.CodeInsufficientBalance)
			require.Len(t, won, 3)
			d.requireBalance(t, user.ID, 10)
			d.requireLedger(t, user.ID)
		}},
		{"one key from many callers counts once, and all get its transaction", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			got := values(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.Transaction, error) {
				return insist(func() (userkit.Transaction, error) {
					return m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(7), Key: "key"})
				})
			}))
			for _, transaction := range got {
				require.Equal(t, got[0], transaction)
			}
			d.requireBalance(t, user.ID, 7)
			d.requireLedger(t, user.ID)
			require.Equal(t, []userkit.EventName{userkit.EventUserCreated, userkit.EventBalanceRefilled}, eventNames(d.events(t, user.ID)))
		}},
		{"one key with other content from each caller is taken by one", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Transaction, error) {
				return insist(func() (userkit.Transaction, error) {
					return m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(int64(i) + 1), Key: "key"})
				})
			}), userkit.ErrInvalid, userkit.CodeKeyReused)
			require.Len(t, won, 1)
			d.requireBalance(t, user.ID, won[0].Amount.Amount)
		}},
		{"exactly one cancels the last transaction", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			d.refill(t, user.ID, 1, "one")
			last := d.refill(t, user.ID, 2, "two")
			won := succeeded(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.Transaction, error) {
				return m.CancelLast(t.Context(), user.ID, last.ID)
			}), userkit.ErrRefused, userkit.CodeAlreadyCancelled)
			require.Len(t, won, 1)
			d.requireBalance(t, user.ID, 1)
			d.requireLedger(t, user.ID)
		}},
		{"a cancel and a refill that come together both mean what they say", func(t *testing.T, env env) {
			d, e := env.pair(t)
			for round := range 10 {
				user := d.signUp(t)
				last := d.refill(t, user.ID, 5, "one")
				answers := contest(d, e, func(m userkit.Manager, i int) (userkit.Transaction, error) {
					if i < 2 {
						return insist(func() (userkit.Transaction, error) { return m.CancelLast(t.Context(), user.ID, last.ID) })
					}
					if i > 3 {
						return userkit.Transaction{}, nil
					}
					return insist(func() (userkit.Transaction, error) {
						return m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(100), Key: fmt.Sprint("key ", i)})
					})
				})
				values(t, answers[2:])
				cancelled := 0
				for _, answer := range answers[:2] {
					if answer.err == nil {
						cancelled++
						continue
					}
					require.ErrorIs(t, answer.err, userkit.ErrRefused)
					require.Contains(t, []userkit.Code{userkit.CodeAlreadyCancelled, userkit.CodeNotLastTransaction}, userkit.ErrorCode(answer.err))
				}
				require.LessOrEqual(t, cancelled, 1, "round %d", round)
				d.requireBalance(t, user.ID, 205-5*int64(cancelled))
				d.requireLedger(t, user.ID)
			}
		}},
		{"many refills of one user by many callers add up", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			values(t, contest(d, e, func(m userkit.Manager, i int) (int, error) {
				for n := range 10 {
					if _, err := insist(func() (userkit.Transaction, error) {
						return m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(3), Key: fmt.Sprint("key ", i, " ", n)})
					}); err != nil {
						return n, err
					}
				}
				return 10, nil
			}))
			d.requireBalance(t, user.ID, 3*10*crowd)
			require.Len(t, d.transactions(t, user.ID), 10*crowd)
			d.requireLedger(t, user.ID)
			require.Empty(t, d.mismatches(t))
		}},
		{"refills of many users by many callers reach each its own", func(t *testing.T, env env) {
			d, e := env.pair(t)
			var users []userkit.User
			for range crowd {
				users = append(users, d.signUp(t))
			}
			values(t, contest(d, e, func(m userkit.Manager, i int) (int, error) {
				for n := range crowd {
					if _, err := insist(func() (userkit.Transaction, error) {
						return m.Refill(t.Context(), users[n].ID, userkit.Entry{Amount: euro(int64(n) + 1), Key: fmt.Sprint("key ", i)})
					}); err != nil {
						return n, err
					}
				}
				return crowd, nil
			}))
			for n, user := range users {
				d.requireBalance(t, user.ID, crowd*(int64(n)+1))
			}
			require.Empty(t, d.mismatches(t))
		}},
	}
}

func otherRaces() []testCase {
	return []testCase{
		{"exactly one user gets a login, an address, a reference or an id", func(t *testing.T, env env) {
			d, e := env.pair(t)
			id := userkit.NewID[userkit.User]()
			for code, newcomer := range map[userkit.Code]userkit.NewUser{
				userkit.CodeLoginTaken:  {Login: "ada"},
				userkit.CodeEmailTaken:  {Email: "ada@example.com"},
				userkit.CodeExtRefTaken: {ExtRef: "ref"},
				userkit.CodeIDTaken:     {ID: id},
			} {
				before := d.countUsers(t)
				won := succeeded(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.User, error) {
					return m.CreateUser(t.Context(), newcomer)
				}), userkit.ErrExists, code)
				require.Len(t, won, 1)
				require.Equal(t, before+1, d.countUsers(t))
			}
		}},
		{"an email address is the login of one user or the email address of one", func(t *testing.T, env env) {
			d, e := env.pair(t)
			for round := range 5 {
				address := fmt.Sprintf("ada%d@example.com", round)
				answers := contest(d, e, func(m userkit.Manager, i int) (userkit.User, error) {
					if i%4 < 2 {
						return m.CreateUser(t.Context(), userkit.NewUser{Login: address})
					}
					return m.CreateUser(t.Context(), userkit.NewUser{Email: address})
				})
				won := 0
				for i, answer := range answers {
					switch {
					case answer.err == nil:
						won++
					case i%4 < 2:
						requireCode(t, answer.err, userkit.ErrExists, userkit.CodeLoginTaken)
					default:
						requireCode(t, answer.err, userkit.ErrExists, userkit.CodeEmailTaken)
					}
				}
				require.Equal(t, 1, won)
			}
		}},
		{"exactly one user gets one of the logins that look the same", func(t *testing.T, env env) {
			d, e := env.pair(t, looksAlike)
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.User, error) {
				return m.CreateUser(t.Context(), userkit.NewUser{Login: alike(i)})
			}), userkit.ErrExists, userkit.CodeLoginConfusable)
			require.Len(t, won, 1)
		}},
		{"exactly one of the users whose logins look the same passes the check that many processes make", func(t *testing.T, env env) {
			d, e := env.pair(t, looksAlike)
			unchecked := env.desk(t)
			for i := range 5 {
				_, err := unchecked.CreateUser(t.Context(), userkit.NewUser{Login: alike(i)})
				require.NoError(t, err)
			}
			for _, found := range values(t, contest(d, e, func(m userkit.Manager, _ int) ([]userkit.ConfusableLogin, error) {
				return confusableLogins(t, m)
			})) {
				require.Len(t, found, 4)
			}
		}},
		{"exactly one of many users gets a login that all want, and the others keep theirs", func(t *testing.T, env env) {
			d, e := env.pair(t)
			var users []userkit.User
			for range crowd {
				users = append(users, d.signUp(t))
			}
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.User, error) {
				return m.UpdateUser(t.Context(), users[i].ID, userkit.UserPatch{Login: userkit.Set("wanted"), Name: userkit.Set("won")})
			}), userkit.ErrExists, userkit.CodeLoginTaken)
			require.Len(t, won, 1)
			for _, user := range users {
				if user.ID != won[0].ID {
					requireUser(t, user, d.user(t, user.ID))
				}
			}
		}},
		{"exactly one of many edits of a revision is taken", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.User, error) {
				return m.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Revision: user.Revision, Name: userkit.Set(fmt.Sprint("by ", i))})
			}), userkit.ErrConflict, userkit.CodeRevisionMismatch)
			require.Len(t, won, 1)
			requireUser(t, won[0], d.user(t, user.ID))
		}},
		{"no more sessions start than may run", func(t *testing.T, env env) {
			d, e := env.pair(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 3}))
			user := d.signUp(t)
			won := succeeded(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.Session, error) {
				return insist(func() (userkit.Session, error) {
					return m.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
				})
			}), userkit.ErrRefused, userkit.CodeSessionLimit)
			require.Len(t, won, 3)
			require.Equal(t, 3, d.user(t, user.ID).OpenSessions)
			d.requireCounters(t, user.ID)
		}},
		{"sessions that end the oldest never leave more than may run", func(t *testing.T, env env) {
			d, e := env.pair(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 3, Policy: userkit.SessionEndOldest}))
			user := d.signUp(t)
			values(t, contest(d, e, func(m userkit.Manager, _ int) (userkit.Session, error) {
				return insist(func() (userkit.Session, error) {
					return m.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
				})
			}))
			require.Len(t, d.sessions(t, user.ID), crowd)
			require.Equal(t, 3, d.user(t, user.ID).OpenSessions)
			d.requireCounters(t, user.ID)
		}},
		{"one session id is started once", func(t *testing.T, env env) {
			d, e := env.pair(t)
			one, two := d.signUp(t), d.signUp(t)
			id := userkit.NewID[userkit.Session]()
			won := succeeded(t, contest(d, e, func(m userkit.Manager, i int) (userkit.Session, error) {
				return m.StartSession(t.Context(), userkit.NewSession{ID: id, UserID: []userkit.UserID{one.ID, two.ID}[i/2%2], Node: "node"})
			}), userkit.ErrExists, userkit.CodeIDTaken)
			require.Len(t, won, 1)
			require.Equal(t, 1, d.user(t, one.ID).OpenSessions+d.user(t, two.ID).OpenSessions)
		}},
		{"one reading from many nodes counts once", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			answers := contest(d, e, func(m userkit.Manager, _ int) ([]userkit.UsageResult, error) {
				return insist(func() ([]userkit.UsageResult, error) {
					results, err := m.ReportUsage(t.Context(), []userkit.UsageReport{{SessionID: session.ID, Received: 1000, Sent: 10, At: at(30)}})
					if err == nil {
						err = results[0].Err
					}
					return results, err
				})
			})
			counted := 0
			for _, results := range values(t, answers) {
				if results[0].Outcome == userkit.UsageCounted {
					counted++
				} else {
					require.Equal(t, userkit.UsageRepeated, results[0].Outcome)
				}
			}
			require.Equal(t, 1, counted)
			d.requireBytes(t, session.ID, 1000, 10)
			require.EqualValues(t, 1010, d.user(t, user.ID).Traffic.Used)
			d.requireCounters(t, user.ID)
		}},
		{"readings of many sessions of a user reach the limit together, and end all", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t, withLimit(crowd*100, userkit.ResetDaily, 0))
			var sessions []userkit.Session
			for range crowd {
				sessions = append(sessions, d.connect(t, user.ID, userkit.DeviceID{}))
			}
			d.clock.Advance(time.Minute)
			values(t, contest(d, e, func(m userkit.Manager, i int) (int, error) {
				return insist(func() (int, error) {
					results, err := m.ReportUsage(t.Context(), []userkit.UsageReport{{SessionID: sessions[i].ID, Received: 60, Sent: 40, At: at(30)}})
					if err == nil {
						err = results[0].Err
					}
					return 0, err
				})
			}))
			require.EqualValues(t, crowd*100, d.user(t, user.ID).Traffic.Used)
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			d.requireCounters(t, user.ID)
		}},
		{"no session outlives the deactivation of its user", func(t *testing.T, env env) {
			d, e := env.pair(t)
			for range 5 {
				user := d.signUp(t)
				answers := contest(d, e, func(m userkit.Manager, i int) (userkit.Session, error) {
					if i == crowd/2 {
						return insist(func() (userkit.Session, error) {
							_, err := m.DeactivateUser(t.Context(), user.ID)
							return userkit.Session{}, err
						})
					}
					return insist(func() (userkit.Session, error) {
						return m.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
					})
				})
				require.NoError(t, answers[crowd/2].err)
				started := succeeded(t, answers, userkit.ErrRefused, userkit.CodeUserDisabled)
				require.Len(t, d.sessions(t, user.ID), len(started)-1)
				require.Zero(t, d.user(t, user.ID).OpenSessions)
				d.requireCounters(t, user.ID)
			}
		}},
		{"nothing outlives the deletion of its user", func(t *testing.T, env env) {
			d, e := env.pair(t)
			for range 5 {
				user := d.signUp(t)
				answers := contest(d, e, func(m userkit.Manager, i int) (int, error) {
					return insist(func() (int, error) {
						var err error
						switch {
						case i == crowd/2:
							_, err = m.DeleteUser(t.Context(), user.ID, user.ID.String())
						case i%4 == 0:
							_, err = m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: fmt.Sprint(i)})
						case i%4 == 1:
							_, err = m.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
						case i%4 == 2:
							_, err = m.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
						default:
							_, err = m.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.event"})
						}
						return i, err
					})
				})
				require.NoError(t, answers[crowd/2].err)
				succeeded(t, answers, userkit.ErrNotFound, userkit.CodeUserNotFound)
				require.Empty(t, d.devices(t, user.ID))
				require.Empty(t, d.sessions(t, user.ID))
				require.Empty(t, d.transactions(t, user.ID))
				require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(d.events(t, user.ID)))
			}
			require.Zero(t, d.countUsers(t))
		}},
	}
}

// mixedWorkload lets many callers do at random whatever users do.
func mixedWorkload(t *testing.T, env env) {
	d, e := env.pair(t,
		userkit.WithDevicePolicy(userkit.DeviceReplaceOldest),
		userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 4, Policy: userkit.SessionEndOldest}))
	var users []userkit.User
	for range 6 {
		users = append(users, d.signUp(t, withLicense(twoDevices)))
	}
	answers := together(12, func(caller int) (int, error) {
		m := []userkit.Manager{d, e}[caller%2]
		random := rand.New(rand.NewPCG(uint64(caller), 7))
		ctx := t.Context()
		for n := range 60 {
			user := users[random.IntN(len(users))].ID
			key := fmt.Sprintf("caller %d call %d", caller, n)
			var err error
			switch random.IntN(10) {
			case 0, 1:
				_, err = m.Refill(ctx, user, userkit.Entry{Amount: euro(1 + random.Int64N(100)), Key: key})
			case 2, 3:
				_, err = m.Charge(ctx, user, userkit.Entry{Amount: euro(1 + random.Int64N(100)), Key: key})
			case 4:
				var found userkit.User
				if found, err = m.User(ctx, user); err == nil && !found.LastTransaction.IsZero() {
					_, err = m.CancelLast(ctx, user, found.LastTransaction)
				}
			case 5:
				_, err = m.RegisterDevice(ctx, user, userkit.NewDevice{HardwareID: fmt.Sprint("hw-", random.IntN(4))})
			case 6:
				_, err = m.StartSession(ctx, userkit.NewSession{UserID: user, Node: "node"})
			case 7, 8:
				var page userkit.Page[userkit.Session]
				page, err = m.Sessions(ctx, userkit.SessionQuery{SessionFilter: userkit.SessionFilter{UserID: user}})
				var reports []userkit.UsageReport
				for _, session := range page.Items {
					reports = append(reports, userkit.UsageReport{SessionID: session.ID, Received: session.Counter.Received + random.Int64N(50), Sent: session.Counter.Sent})
				}
				if err == nil {
					_, err = m.ReportUsage(ctx, reports)
				}
			case 9:
				var page userkit.Page[userkit.Session]
				page, err = m.Sessions(ctx, userkit.SessionQuery{SessionFilter: userkit.SessionFilter{UserID: user, State: userkit.SessionsActive}})
				if err == nil && len(page.Items) > 0 {
					_, err = m.EndSession(ctx, page.Items[random.IntN(len(page.Items))].ID, userkit.UsageReport{})
				}
			}
			if err != nil && !errors.Is(err, userkit.ErrRefused) && !errors.Is(err, userkit.ErrConflict) {
				return n, err
			}
		}
		return 0, nil
	})
	values(t, answers)
	for _, user := range users {
		d.requireCounters(t, user.ID)
		require.LessOrEqual(t, d.user(t, user.ID).Devices, 2)
		require.LessOrEqual(t, d.user(t, user.ID).OpenSessions, 4)
		require.GreaterOrEqual(t, d.user(t, user.ID).Balance.Amount, int64(0))
	}
	require.Empty(t, d.mismatches(t))
}

// The calls of a history of one user's money.
type (
	moneyCall struct {
		user   userkit.UserID
		kind   string // refill, charge, cancel or read
		cents  int64
		cancel userkit.TransactionID
	}
	moneyAnswer struct {
		code     userkit.Code // of the error; empty: none
		id       userkit.TransactionID
		balance  int64
		sequence int64
	}
	// moneyState is a user's ledger: what counts, in order, and what was cancelled.
	moneyState struct {
		lines     []moneyLine
		cancelled map[userkit.TransactionID]bool
		balance   int64
		sequence  int64
	}
	moneyLine struct {
		id    userkit.TransactionID
		delta int64
	}
)

// moneyModel says what a ledger does when calls come one after another.
var moneyModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[userkit.UserID][]porcupine.Operation{}
		for _, operation := range history {
			user := operation.Input.(moneyCall).user
			parts[user] = append(parts[user], operation)
		}
		return slices.Collect(maps.Values(parts))
	},
	Init: func() any { return moneyState{} },
	Step: func(state, input, output any) (bool, any) {
		ledger, call, got := state.(moneyState), input.(moneyCall), output.(moneyAnswer)
		if got.code == userkit.CodeTooManyConflicts {
			return true, ledger
		}
		var last userkit.TransactionID
		if len(ledger.lines) > 0 {
			last = ledger.lines[len(ledger.lines)-1].id
		}
		switch call.kind {
		case "read":
			return got == moneyAnswer{id: last, balance: ledger.balance, sequence: ledger.sequence}, ledger
		case "cancel":
			known := slices.ContainsFunc(ledger.lines, func(line moneyLine) bool { return line.id == call.cancel })
			switch {
			case ledger.cancelled[call.cancel]:
				return got.code == userkit.CodeAlreadyCancelled, ledger
			case !known:
				return got.code == userkit.CodeTransactionNotFound, ledger
			case last != call.cancel:
				return got.code == userkit.CodeNotLastTransaction, ledger
			}
			next := ledger
			next.lines = ledger.lines[: len(ledger.lines)-1 : len(ledger.lines)-1]
			next.balance -= ledger.lines[len(ledger.lines)-1].delta
			next.cancelled = maps.Clone(ledger.cancelled)
			if next.cancelled == nil {
				next.cancelled = map[userkit.TransactionID]bool{}
			}
			next.cancelled[call.cancel] = true
			return got.code == "" && got.id == call.cancel, next
		default:
			delta := call.cents
			if call.kind == "charge" {
				delta = -delta
			}
			if ledger.balance+delta < 0 {
				return got.code == userkit.CodeInsufficientBalance, ledger
			}
			next := ledger
			next.balance, next.sequence = ledger.balance+delta, ledger.sequence+1
			next.lines = append(slices.Clone(ledger.lines), moneyLine{got.id, delta})
			return got.code == "" && got.balance == next.balance && got.sequence == next.sequence, next
		}
	},
	Equal: func(a, b any) bool {
		x, y := a.(moneyState), b.(moneyState)
		return x.balance == y.balance && x.sequence == y.sequence && slices.Equal(x.lines, y.lines) && maps.Equal(x.cancelled, y.cancelled)
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// linearizability records what many callers see of a few users' money, and
// demands that one order of the calls explains it all.
func linearizability(t *testing.T, env env) {
	d, e := env.pair(t)
	var users []userkit.User
	for range 3 {
		users = append(users, d.signUp(t))
	}
	began := time.Now()
	var mutex sync.Mutex
	var history []porcupine.Operation
	answers := together(8, func(caller int) (int, error) {
		m := []userkit.Manager{d, e}[caller%2]
		random := rand.New(rand.NewPCG(uint64(caller), 11))
		known := map[userkit.UserID]userkit.TransactionID{}
		for n := range 40 {
			user := users[random.IntN(len(users))].ID
			call := moneyCall{user: user, kind: []string{"refill", "charge", "cancel", "read"}[random.IntN(4)], cents: 1 + random.Int64N(50)}
			if call.kind == "cancel" {
				if call.cancel = known[user]; call.cancel.IsZero() {
					call.kind = "read"
				}
			}
			key := fmt.Sprintf("caller %d call %d", caller, n)
			start := time.Since(began).Nanoseconds()
			var got moneyAnswer
			var err error
			var transaction userkit.Transaction
			switch call.kind {
			case "refill":
				transaction, err = m.Refill(t.Context(), user, userkit.Entry{Amount: euro(call.cents), Key: key})
			case "charge":
				transaction, err = m.Charge(t.Context(), user, userkit.Entry{Amount: euro(call.cents), Key: key})
			case "cancel":
				transaction, err = m.CancelLast(t.Context(), user, call.cancel)
			case "read":
				var found userkit.User
				found, err = m.User(t.Context(), user)
				transaction = userkit.Transaction{ID: found.LastTransaction, Balance: found.Balance, Sequence: found.TransactionSequence}
			}
			end := time.Since(began).Nanoseconds()
			if err != nil {
				if got.code = userkit.ErrorCode(err); got.code == "" || errors.Is(err, userkit.ErrUnavailable) {
					return n, err
				}
			} else {
				known[user] = transaction.ID
				got = moneyAnswer{id: transaction.ID, balance: transaction.Balance.Amount, sequence: transaction.Sequence}
			}
			mutex.Lock()
			history = append(history, porcupine.Operation{ClientId: caller, Input: call, Output: got, Call: start, Return: end})
			mutex.Unlock()
		}
		return 0, nil
	})
	values(t, answers)
	require.True(t, porcupine.CheckOperations(moneyModel, history), "no order of the calls explains their answers")
	for _, user := range users {
		d.requireLedger(t, user.ID)
	}
}
