package ratelimit

import "net/netip"

// Address returns the address in a text such as "192.0.2.1:80", as it is in net.Addr and in
// http.Request.RemoteAddr. It is not valid for another text.
func Address(hostPort string) netip.Addr {
	both, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return both.Addr()
}

// Network returns the key of a client: its address or, with IPv6, where a customer has a network
// and all of the addresses in it, its /64. All clients without a valid address have one key.
func Network(address netip.Addr) string {
	switch address = address.Unmap(); {
	case !address.IsValid():
		return "other"
	case address.Is4():
		return address.String()
	}
	return netip.PrefixFrom(address.WithZone(""), 64).Masked().String()
}
