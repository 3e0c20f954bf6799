package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// trafficPage is the tab of a user's traffic per day.
type trafficPage struct {
	*userPage
	traffic
	From, To string
	Fault    string
}

// traffic is the use per day as a person sees it.
type traffic struct {
	Days           []userkit.DayUsage // newest first, without those that have no use
	Points         string             // of all days, for the plot, as JSON
	Received, Sent int64
}

// newTraffic returns the use per day, in the order of days, as a person sees it.
func newTraffic(usage []userkit.DayUsage, from, to userkit.Day) (traffic, error) {
	t := traffic{Days: slices.Clone(usage)}
	points := plotPoints{}
	by := map[userkit.Day]userkit.DayUsage{}
	for _, day := range usage {
		t.Received += day.Received
		t.Sent += day.Sent
		by[day.Day] = day
	}
	if len(usage) > 0 {
		for day := from; day.Compare(to) <= 0; day = day.AddDays(1) {
			points.Days = append(points.Days, time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, time.UTC).Unix())
			points.Received = append(points.Received, by[day].Received)
			points.Sent = append(points.Sent, by[day].Sent)
		}
	}
	encoded, err := json.Marshal(points)
	if err != nil {
		return traffic{}, err
	}
	t.Points = string(encoded)
	slices.Reverse(t.Days)
	return t, nil
}

// plotPoints is what the plot draws. Days are in seconds since 1970, and traffic is in bytes.
type plotPoints struct {
	Days     []int64 `json:"days"`
	Received []int64 `json:"received"`
	Sent     []int64 `json:"sent"`
}

func (c *console) showTraffic(v *view, w http.ResponseWriter, r *http.Request) error {
	base, err := c.loadUser(v, r, "traffic")
	if err != nil {
		return err
	}
	to := userkit.DayOf(v.Now, c.zone)
	from := to.AddDays(-29)
	p := trafficPage{userPage: base}
	status := http.StatusOK
	for _, bound := range []struct {
		name string
		day  *userkit.Day
	}{{"from", &from}, {"to", &to}} {
		if text := v.Query(bound.name); text != "" {
			day, err := userkit.ParseDay(text)
			if err != nil {
				p.Fault, status = v.ErrorText(err), http.StatusUnprocessableEntity
				continue
			}
			*bound.day = day
		}
	}
	p.From, p.To = from.String(), to.String()
	if p.Fault == "" {
		usage, err := c.users.Traffic(r.Context(), base.User.ID, from, to)
		if userkit.ErrorCode(err) == userkit.CodeSpanTooLong {
			p.Fault, status = v.T("The period may have at most ten years, and must end after it begins."), http.StatusUnprocessableEntity
		} else if err != nil {
			return err
		}
		if p.traffic, err = newTraffic(usage, from, to); err != nil {
			return err
		}
	}
	return v.render(w, status, "user_traffic", p)
}
