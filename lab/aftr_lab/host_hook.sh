#!/bin/sh
# Hook of a LAN host's dhclient: its address and its way out, in its namespace; resolv.conf is the machine's, and stays.
case $reason in
PREINIT)
    ip link set dev "$interface" up
    ;;
BOUND | RENEW | REBIND | REBOOT)
    ip address replace "$new_ip_address/$new_subnet_mask" dev "$interface" valid_lft "$new_dhcp_lease_time" preferred_lft "$new_dhcp_lease_time"
    ip route replace default via "$new_routers" dev "$interface"
    ;;
EXPIRE | FAIL | RELEASE | STOP)
    ip -4 address flush dev "$interface"
    ;;
esac
