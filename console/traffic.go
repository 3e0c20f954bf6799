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
	Days           []userkit.DayUsage // newest first
	Points         string             // for the plot, as JSON
	Received, Sent int64
	From, To       string
	Fault          string
}

// plotPoints is what the plot gets: days as seconds since 1970, and bytes.
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
		points := plotPoints{}
		by := map[userkit.Day]userkit.DayUsage{}
		for _, day := range usage {
			p.Received += day.Received
			p.Sent += day.Sent
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
			return err
		}
		p.Points = string(encoded)
		slices.Reverse(usage)
		p.Days = usage
	}
	return v.render(w, status, "user_traffic", p)
}
