package console

import (
	"net/http"

	"github.com/userkit/userkit"
)

// routes registers the pages of the console at their addresses below its base, each with the
// operation of Manager that it shows or carries out.
func (c *console) routes() {
	c.handle("GET /{$}", "", c.showOverview)
	c.handle("GET /find", "", c.find)
	c.handle("GET /preferences", "", c.showPreferences)
	c.handle("POST /preferences", "", c.setPreferences)
	c.handle("GET /jobs", "", c.showJobs)
	c.handle("GET /jobs/{job}", "", c.showJob)
	c.handle("POST /jobs/{job}/stop", "", c.stopJob)
	c.handle("GET /jobs/{job}/rejected.csv", "", c.downloadRejects)

	c.handle("GET /users", "users.list", c.listUsers)
	c.handle("GET /users/filter", "users.list", c.addFilter)
	c.handle("POST /users/columns", "users.list", c.setColumns)
	c.handle("POST /users/segment", "segments.create", c.saveSegment)
	c.handle("GET /users/export", "users.walk", c.exportUsers)
	c.handle("GET /users/new", "users.create", c.newUser)
	c.handle("POST /users", "users.create", c.createUser)
	c.handle("GET /bulk", "users.preview_bulk", c.previewBulk)
	c.handle("POST /bulk", "users.execute_bulk", c.executeBulk)
	c.handle("GET /import", "users.import", c.chooseFile)
	c.handle("POST /import", "users.import", c.uploadFile)
	c.handle("GET /import/{file}", "users.import", c.mapFile)
	c.handle("POST /import/{file}", "users.import", c.runImport)

	c.handle("GET /users/{user}", "users.get", c.showUser)
	c.handle("POST /users/{user}/edit", "users.update", c.editUser)
	c.handle("POST /users/{user}/attributes", "users.update", c.editAttributes)
	c.handle("POST /users/{user}/activate", "users.activate", c.actOnUser("The user is active.", func(r *http.Request, id userkit.UserID) error {
		_, err := c.users.ActivateUser(r.Context(), id)
		return err
	}))
	c.handle("POST /users/{user}/deactivate", "users.deactivate", c.actOnUser("The user is deactivated.", func(r *http.Request, id userkit.UserID) error {
		_, err := c.users.DeactivateUser(r.Context(), id)
		return err
	}))
	c.handle("POST /users/{user}/push-mail", "users.generate_push_mail", c.actOnUser("The address is new. An earlier address of the user no longer works.", func(r *http.Request, id userkit.UserID) error {
		_, err := c.users.GeneratePushMail(r.Context(), id)
		return err
	}))
	c.handle("POST /users/{user}/revoke-push-mail", "users.revoke_push_mail", c.actOnUser("The address is revoked.", func(r *http.Request, id userkit.UserID) error {
		_, err := c.users.RevokePushMail(r.Context(), id)
		return err
	}))
	c.handle("POST /users/{user}/send-activation", "users.send_activation", c.actOnUser("The activation mail is sent.", func(r *http.Request, id userkit.UserID) error {
		return c.users.SendActivation(r.Context(), id, "")
	}))
	c.handle("POST /users/{user}/limit", "sessions.set_traffic_limit", c.setTrafficLimit)
	c.handle("POST /users/{user}/delete", "users.delete", c.deleteUser)
	c.handle("GET /users/{user}/archive.zip", "users.records", c.archiveUser)

	c.handle("POST /users/{user}/connect", "connections.connect", c.connect)
	c.handle("POST /disconnect", "", c.disconnect)
	c.handle("GET /connections", "connections.list", c.showConnections)
	c.handle("POST /connections/end", "connections.disconnect", c.endConnection)

	c.handle("GET /users/{user}/devices", "devices.list", c.showDevices)
	c.handle("POST /users/{user}/devices/register", "devices.register", c.registerDevice)
	c.handle("POST /users/{user}/devices/edit", "devices.update", c.actOnDevice("Saved.", c.updateDevice))
	c.handle("POST /users/{user}/devices/rotate", "devices.rotate_token", c.actOnDevice("", c.rotateToken))
	c.handle("POST /users/{user}/devices/reveal", "devices.reveal_token", c.actOnDevice("", c.revealToken))
	c.handle("POST /users/{user}/devices/withdraw", "devices.update", c.actOnDevice("The consent is withdrawn.", c.withdrawConsent))
	c.handle("POST /users/{user}/devices/delete", "devices.delete", c.actOnDevice("The device is deleted.", c.deleteDevice))

	c.handle("GET /users/{user}/map", "locations.list", c.showUserMap)
	c.handle("POST /users/{user}/map/forget", "locations.forget", c.forgetLocations)

	c.handle("GET /users/{user}/sessions", "sessions.list", c.showUserSessions)
	c.handle("POST /users/{user}/sessions/end", "sessions.end", c.endSession)
	c.handle("GET /users/{user}/traffic", "sessions.traffic", c.showTraffic)

	c.handle("GET /users/{user}/purchases", "purchases.list", c.showUserPurchases)
	c.handle("POST /users/{user}/purchases/activate", "purchases.activate", c.actOnPurchase("The purchase is active.", func(r *http.Request, id userkit.PurchaseID) error {
		_, err := c.users.ActivatePurchase(r.Context(), id)
		return err
	}))
	c.handle("POST /users/{user}/purchases/deactivate", "purchases.deactivate", c.actOnPurchase("The purchase is deactivated.", func(r *http.Request, id userkit.PurchaseID) error {
		_, err := c.users.DeactivatePurchase(r.Context(), id)
		return err
	}))

	c.handle("GET /users/{user}/balance", "balance.transactions", c.showBalance)
	c.handle("POST /users/{user}/balance/refill", "balance.refill", c.move("The balance is refilled.", c.users.Refill))
	c.handle("POST /users/{user}/balance/charge", "balance.charge", c.move("The balance is charged.", c.users.Charge))
	c.handle("POST /users/{user}/balance/cancel", "balance.cancel_last", c.cancelLast)
	c.handle("POST /balances/verify", "balance.verify", c.verifyBalances)

	c.handle("GET /users/{user}/segments", "segments.of_user", c.showUserSegments)
	c.handle("POST /users/{user}/segments/add", "segments.add_user", c.addToSegments)
	c.handle("POST /users/{user}/segments/remove", "segments.remove_user", c.removeFromSegment)
	c.handle("GET /users/{user}/messages", "messages.list", c.showUserMessages)
	c.handle("POST /users/{user}/messages/send", "messages.send", c.sendMessage)
	c.handle("POST /users/{user}/messages/read", "messages.mark_read", c.markRead)
	c.handle("GET /users/{user}/activity", "activity.list", c.showActivity)

	c.handle("GET /messages", "", c.showMessages)
	c.handle("POST /messages", "users.preview_bulk", c.previewMessage)
	c.handle("POST /messages/send", "users.execute_bulk", c.sendToMany)
	c.handle("GET /sessions", "sessions.list", c.showSessions)
	c.handle("GET /map", "locations.list", c.showMap)
	c.handle("GET /purchases", "purchases.list", c.showPurchases)
	c.handle("GET /segments", "segments.list", c.showSegments)
	c.handle("POST /segments", "segments.create", c.createSegment)
	c.handle("GET /segments/{segment}", "segments.get", c.showSegment)
	c.handle("POST /segments/{segment}/edit", "segments.update", c.editSegment)
	c.handle("POST /segments/{segment}/freeze", "segments.freeze", c.freezeSegment)
	c.handle("POST /segments/{segment}/delete", "segments.delete", c.deleteSegment)
	c.handle("GET /audit", "activity.list", c.showAudit)
}
