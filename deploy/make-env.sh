#!/bin/sh
# Prints .env.example with a fresh random value for each password and secret that is empty there.
set -eu
cd "$(dirname "$0")/.."

# Hexadecimal, because the passwords become part of URLs.
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

while IFS= read -r line; do
    case $line in
        [A-Z]*_PASSWORD=) printf '%s%s\n' "$line" "$(password)" ;;
        # Hexadecimal is base64 too, as long as its length is a multiple of four.
        WEBHOOK_SECRET=) printf '%swhsec_%s\n' "$line" "$(password)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example
