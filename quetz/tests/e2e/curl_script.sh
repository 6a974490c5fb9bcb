#!/bin/sh
# What a script of an existing user does with curl: $URL, $KEY, $CHANNEL, $PACKAGE (a file),
# $SUBDIR, $NAME and $VERSION of the package. Prints a line for each step; the first that is not
# answered as expected ends it.
set -eu

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
file=$(basename "$PACKAGE")
sum=$(sha256sum "$PACKAGE" | cut -d' ' -f1)

# step CODE PATTERN METHOD PATH [curl options]: the answer has the status, and holds the pattern.
step() {
    code=$1 pattern=$2 method=$3 path=$4
    shift 4
    got=$(curl --silent --show-error --output "$answer" --write-out '%{http_code}' \
        --request "$method" --header "X-API-Key: $KEY" "$@" "$URL$path")
    if [ "$got" != "$code" ] || ! grep -q -- "$pattern" "$answer"; then
        echo "$method $path: $got, not $code with '$pattern':" >&2
        cat "$answer" >&2
        exit 1
    fi
    echo "$method $path $got"
}

# Scripts of old send JSON without saying so.
channel=/api/channels/$CHANNEL
package=$channel/packages/$NAME
version=$package/versions/$SUBDIR/$file

step 201 null POST /api/channels --data '{"name": "'"$CHANNEL"'", "private": false}'
step 409 exists POST /api/channels --data '{"name": "'"$CHANNEL"'", "private": false}'
step 200 '"members_count":1' GET "$channel"
step 200 '"all_records_count"' GET '/api/paginated/channels?skip=0&limit=1'
step 200 '"size_limit":null' PATCH "$channel" --data '{"ttl": 100}'
step 201 null POST "$channel/packages" --data '{"name": "'"$NAME"'", "summary": "made by hand"}'
step 409 already POST "$channel/packages" --data '{"name": "'"$NAME"'"}'
step 201 null POST "$channel/upload/$file?sha256=$sum&force=false" \
    --header 'Transfer-Encoding: chunked' --data-binary "@$PACKAGE"
step 200 null POST "$channel/files/" --form "files=@$PACKAGE"
step 422 declared POST "$channel/upload/$file?sha256=$(echo | sha256sum | cut -d' ' -f1)" \
    --data-binary "@$PACKAGE"
step 200 "\"current_version\":\"$VERSION\"" GET "$package"
step 200 "\"name\":\"$NAME\"" GET "$channel/packages?q=$NAME"
step 200 "\"version\":\"$VERSION\"" GET "$package/versions?version_match_str=%3E%3D$VERSION"
step 200 "\"filename\":\"$file\"" GET "$version"
step 200 '"result":' GET "/api/paginated${package#/api}/versions?limit=1"
step 200 "\"channel_name\":\"$CHANNEL\"" GET "/api/packages/search/?q=$NAME+channel:$CHANNEL"
step 200 "\"name\":\"$CHANNEL\"" GET "/api/channels/search/?q=$CHANNEL"
step 200 '"packages":' GET "/metrics/channels/$CHANNEL?period=D"
step 200 '"series":' GET "/metrics/channels/$CHANNEL/packages/$NAME/versions/$SUBDIR/$file"
step 200 '"role":"owner"' GET "$channel/members"
step 404 'no-such-user' POST "$channel/members" --data '{"username": "no-such-user", "role": "member"}'
step 200 '\[' GET "$package/members"
step 200 '\[\]' GET "$channel/mirrors"
step 201 null POST /api/channels --data '{"name": "'"$CHANNEL"'-copy", "private": true}'
step 201 null POST \
    "$channel-copy/packages/copy?source_channel=$CHANNEL&source_package=$NAME&subdir=$SUBDIR&filename=$file"
step 200 "\"filename\":\"$file\"" GET "$channel-copy/packages/$NAME/versions"
step 201 '"key":"qz-' POST /api/api-keys --data '{"description": "of a script", "roles": []}'
step 200 '"description":"of a script"' GET /api/api-keys
step 200 "$CHANNEL" GET /api/channels
step 200 . GET "/get/$CHANNEL/$SUBDIR/$file"
step 200 null DELETE "$version"
step 404 . GET "$version"
step 200 null DELETE "$channel-copy"
step 200 null DELETE "$channel"
step 404 . GET "$channel"
