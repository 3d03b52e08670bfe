# What both clients' hooks do with a lease: resolvers, then the AFTR's name (empty: none was sent), go to B4_FOLDER, each file whole.

lease() {
    for server in $new_dhcp6_name_servers; do echo "nameserver $server"; done | put resolv.conf
    echo "$new_dhcp6_aftr_name" | put aftr-name
}

put() {
    cat > "$B4_FOLDER/$1.new" && mv "$B4_FOLDER/$1.new" "$B4_FOLDER/$1"
}
