# openwrt.sh - as much of OpenWrt's /lib/functions.sh as a test needs: it reads UCI files from the folder
# $UCI, whose syntax is that of calls of the functions config, option and list.
# shellcheck shell=dash disable=SC2034,SC2317
SECTIONS= SECTION= NEXT=0

config() { # TYPE [NAME]
    NEXT=$((NEXT + 1))
    SECTION=${2:-cfg$NEXT}
    SECTIONS="$SECTIONS $1:$SECTION"
}

option() { # NAME VALUE
    eval "CONFIG_${SECTION}_$1=\$2"
}

list() { # NAME VALUE
    eval "n=\${CONFIG_${SECTION}_$1_LENGTH:-0}"
    n=$((n + 1))
    eval "CONFIG_${SECTION}_$1_LENGTH=$n CONFIG_${SECTION}_$1_ITEM$n=\$2 CONFIG_${SECTION}_$1=list"
}

config_load() { # FILE
    . "$UCI/$1"
}

config_get() { # VARIABLE SECTION OPTION
    eval "$1=\${CONFIG_$2_$3:-}"
}

config_get_bool() { # VARIABLE SECTION OPTION DEFAULT
    eval "_bool=\${CONFIG_$2_$3:-$4}"
    case $_bool in
    1 | on | true | yes | enabled) eval "$1=1" ;;
    0 | off | false | no | disabled) eval "$1=0" ;;
    *) eval "$1=\$4" ;;
    esac
}

config_foreach() { # FUNCTION TYPE
    for _entry in $SECTIONS; do
        [ "${_entry%%:*}" != "$2" ] || "$1" "${_entry#*:}"
    done
}

config_list_foreach() { # SECTION OPTION FUNCTION
    eval "_n=\${CONFIG_$1_$2_LENGTH:-0}"
    _i=1
    while [ "$_i" -le "$_n" ]; do
        eval "_item=\$CONFIG_$1_$2_ITEM$_i"
        "$3" "$_item"
        _i=$((_i + 1))
    done
}
