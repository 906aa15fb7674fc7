# The bash side of a plan.sh build: variables, helpers and callbacks that plans of Habitat expect (docs/plan.md, "plan.sh").
#
# One bash process sources the plan and runs every callback, so that variables live from one to the next. Everything that is not the plan's
# (dependencies, downloads, unpacking, the package itself) is asked for: a question goes out on one descriptor, a line comes back on
# another: "ok", "source FILE" (shell assignments), "stop" or "no MESSAGE". builder/shellrecipe.py is the other side.

set -e -E
umask 022
shopt -u sourcepath 2>/dev/null || true

_stead_ask_fd=$1
_stead_answer_fd=$2
_stead_plan=$3
_stead_phase=load

# --- talking to the other side

_stead_ask() {
  local answer
  {
    printf '%s\n' "$#"
    printf '%s\0' "$@"
  } >&"$_stead_ask_fd"
  IFS= read -r -u "$_stead_answer_fd" answer || exit 1
  case "$answer" in
    ok) return 0 ;;
    "source "*) source "${answer#source }" ;;
    stop) exit 0 ;;
    *)
      echo "${answer#no }" >&2
      return 1
      ;;
  esac
}

_stead_scalars=(pkg_origin pkg_name pkg_version pkg_release pkg_description pkg_upstream_url pkg_maintainer pkg_source pkg_filename pkg_shasum
  pkg_dirname pkg_prefix pkg_scaffolding pkg_svc_run pkg_svc_user pkg_svc_group pkg_shutdown_signal pkg_shutdown_timeout_sec pkg_type
  CFLAGS CPPFLAGS CXXFLAGS LDFLAGS LD_RUN_PATH)
_stead_arrays=(pkg_license pkg_deps pkg_build_deps pkg_bin_dirs pkg_lib_dirs pkg_include_dirs pkg_pconfig_dirs pkg_interpreters pkg_exposes)
_stead_maps=(pkg_exports pkg_binds pkg_binds_optional _stead_runtime _stead_pushed _stead_hab_env)

# Ask with all variables: kind, name, count, values.
_stead_tell() {
  local verb=$1 name key count out=()
  for name in "${!HAB_ENV_@}"; do _stead_hab_env[$name]=${!name}; done
  for name in "${_stead_scalars[@]}"; do
    if [[ -n "${!name+x}" ]]; then
      local -n _stead_it=$name
      out+=(scalar "$name" 1 "${_stead_it}")
      unset -n _stead_it
    fi
  done
  for name in "${_stead_arrays[@]}"; do
    local -n _stead_it=$name
    out+=(array "$name" "${#_stead_it[@]}" "${_stead_it[@]}")
    unset -n _stead_it
  done
  for name in "${_stead_maps[@]}"; do
    local -n _stead_it=$name
    count=$((${#_stead_it[@]} * 2))
    out+=(map "$name" "$count")
    for key in "${!_stead_it[@]}"; do out+=("$key" "${_stead_it[$key]}"); done
    unset -n _stead_it
  done
  for name in pkg_version do_check do_after_success do_after_failure; do
    if declare -F "$name" >/dev/null; then out+=(function "$name" 0); fi
  done
  _stead_ask "$verb" "${out[@]}"
}

# --- helpers for plans

exists() { command -v "$1" >/dev/null 2>&1; }
build_line() { printf '   %s: %s\n' "${pkg_name:-plan}" "$*"; }
warn() { printf '   %s: WARN %s\n' "${pkg_name:-plan}" "$*" >&2; }
debug() { if [[ -n "${DEBUG:-}" ]]; then printf 'DEBUG: %s\n' "$*" >&2; fi; }

exit_with() {
  printf '   %s: ERROR %s\n' "${pkg_name:-plan}" "$1" >&2
  exit "${2:-1}"
}

trim() {
  local text="$*"
  text="${text#"${text%%[![:space:]]*}"}"
  printf '%s' "${text%"${text##*[![:space:]]}"}"
}

join_by() {
  local separator=$1 out
  shift
  out=${1:-}
  if (($#)); then shift; fi
  local part
  for part in "$@"; do out+="$separator$part"; done
  printf '%s\n' "$out"
}

abspath() {
  if [[ -d "$1" ]]; then (cd "$1" && pwd); else printf '%s/%s\n' "$(cd "$(dirname "$1")" && pwd)" "$(basename "$1")"; fi
}

attach() { warn "attach: there is no terminal in a build"; }

pkg_path_for() {
  local wanted=$1 path
  for path in "${pkg_build_deps_resolved[@]}" "${pkg_deps_resolved[@]}"; do
    if [[ "/${path#"$HAB_PKG_PATH/"}/" == *"/${wanted}/"* ]]; then
      printf '%s\n' "$path"
      return 0
    fi
  done
  warn "pkg_path_for: '$wanted' is in neither pkg_build_deps nor pkg_deps"
  return 1
}

pkg_interpreter_for() {
  local path interpreter
  path=$(pkg_path_for "$1") || return 1
  if [[ ! -f "$path/INTERPRETERS" ]]; then
    warn "pkg_interpreter_for: $1 has no interpreters"
    return 1
  fi
  while IFS= read -r interpreter; do
    if [[ "$interpreter" == */"$2" || "$interpreter" == */"$(basename "$2")" ]]; then
      printf '%s\n' "$interpreter"
      return 0
    fi
  done <"$path/INTERPRETERS"
  warn "pkg_interpreter_for: $1 has no interpreter $2"
  return 1
}

fix_interpreter() {
  local targets=$1 package=$2 interpreter=$3 path file
  path=$(pkg_interpreter_for "$package" "$interpreter") || return 1
  for file in $targets; do
    if [[ -f "$file" ]]; then sed -e "s#\#\!.*${interpreter}#\#\!${path}#" -i "$file"; fi
  done
}

normalize_checksum() { printf '%s\n' "${1,,}"; }

download_file() {
  local url=$1 destination=$2 shasum=${3:-} path
  case "$destination" in
    /*) path=$destination ;;
    *) path=$HAB_CACHE_SRC_PATH/$destination ;;
  esac
  if [[ -f "$path" && -n "$shasum" ]] && verify_sum "$path" "$shasum"; then
    build_line "$destination is there already"
    return 0
  fi
  build_line "Downloading $url"
  _stead_ask fetch "$url" "$path" "${shasum,,}"
}

verify_sum() {
  local actual
  actual=$(sha256sum "$1")
  [[ "${actual%% *}" == "${2,,}" ]]
}

verify_file() {
  local path
  case "$1" in
    /*) path=$1 ;;
    *) path=$HAB_CACHE_SRC_PATH/$1 ;;
  esac
  if ! verify_sum "$path" "$2"; then
    warn "$1 has another checksum than the plan says: expected ${2,,}, got $(sha256sum "$path" | cut -d' ' -f1)"
    return 1
  fi
  build_line "Checksum of $1 is right"
}

unpack_file() {
  local path
  case "$1" in
    /*) path=$1 ;;
    *) path=$HAB_CACHE_SRC_PATH/$1 ;;
  esac
  build_line "Unpacking $1"
  _stead_ask unpack "$path" "$HAB_CACHE_SRC_PATH"
}

update_pkg_version() {
  case "$_stead_phase" in
    load | begin | setup_environment | before | download | verify | clean | unpack) ;;
    *) exit_with "update_pkg_version cannot be called from do_$_stead_phase on" 21 ;;
  esac
  local before=$pkg_version
  pkg_version=$(trim "$(pkg_version)")
  build_line "Version updated to '$pkg_version'"
  _stead_derive "$before"
}

_stead_known_env() {
  case "$1" in
    PATH | LD_RUN_PATH | LDFLAGS | CFLAGS | CPPFLAGS | CXXFLAGS | PKG_CONFIG_PATH)
      exit_with "$1 is computed by the build and cannot be set" 23
      ;;
  esac
}

set_runtime_env() {
  local force=
  if [[ "$1" == -f ]]; then
    force=yes
    shift
  fi
  _stead_known_env "$1"
  if [[ -z "$force" && -n "${_stead_runtime[$1]+x}" ]]; then exit_with "$1 is set already; use set_runtime_env -f" 23; fi
  _stead_runtime[$1]=$2
  export "$1=$2"
}

set_buildtime_env() {
  local force=
  if [[ "$1" == -f ]]; then
    force=yes
    shift
  fi
  _stead_known_env "$1"
  if [[ -z "$force" && -n "${!1+x}" ]]; then exit_with "$1 is set already; use set_buildtime_env -f" 23; fi
  export "$1=$2"
}

_stead_prepend() {
  local separator_name="HAB_ENV_$1_SEPARATOR" separator value=$2 before=$3 part out=() seen
  separator=${!separator_name:-:}
  if [[ "$1" == CLASSPATH && -z "${!separator_name:-}" ]]; then separator=';'; fi
  local IFS=$separator
  for part in $value $before; do
    if [[ -z "$part" ]]; then continue; fi
    for seen in "${out[@]}"; do if [[ "$seen" == "$part" ]]; then continue 2; fi; done
    out+=("$part")
  done
  printf '%s' "${out[*]}"
}

push_runtime_env() {
  _stead_known_env "$1"
  _stead_pushed[$1]=$(_stead_prepend "$1" "$2" "${_stead_pushed[$1]:-}")
  export "$1=$(_stead_prepend "$1" "$2" "${!1:-}")"
}

push_buildtime_env() {
  _stead_known_env "$1"
  export "$1=$(_stead_prepend "$1" "$2" "${!1:-}")"
}

push_to_path() { export PATH="$1:$PATH"; }
dedupe_path() { _stead_prepend PATH "$1" ""; }

# --- default callbacks

do_default_begin() { :; }
do_default_setup_environment() { :; }
do_default_before() { :; }
do_default_download() { if [[ -n "$pkg_source" ]]; then download_file "$pkg_source" "$pkg_filename" "$pkg_shasum"; fi; }
do_default_verify() { if [[ -n "$pkg_filename" ]]; then verify_file "$pkg_filename" "$pkg_shasum"; fi; }
do_default_clean() { rm -rf -- "${CACHE_PATH:?}"; }
do_default_unpack() { if [[ -n "$pkg_filename" ]]; then unpack_file "$pkg_filename"; fi; }
do_default_prepare() { :; }

do_default_build() {
  ./configure --prefix="$pkg_prefix"
  make
}

do_default_check() { make check; }
do_default_install() { make install; }
do_default_build_config() { _stead_ask config "$pkg_prefix"; }

do_default_build_service() {
  if [[ -z "$pkg_svc_run" || -f "$PLAN_CONTEXT/hooks/run" ]]; then return 0; fi
  local command=${pkg_svc_run//@__pkg_name__@/$pkg_name}
  {
    printf '#!/bin/sh\nexport HOME="%s"\ncd "%s"\n' "$pkg_svc_data_path" "$pkg_svc_path"
    printf 'exec %s 2>&1\n' "$command"
  } >"$pkg_prefix/run"
}

do_default_strip() {
  if ! exists strip; then
    warn "no strip on this machine: debug symbols stay"
    return 0
  fi
  local file head
  while IFS= read -r -d '' file; do
    head=$(LC_ALL=C od -An -v -tx1 -N18 -- "$file" | tr -d ' \n')
    case "$head" in
      7f454c46????????????????????????0200*) strip --strip-all -- "$file" || warn "strip failed: $file" ;;
      7f454c46????????????????????????0300* | 7f454c46????????????????????????0003*) strip --strip-unneeded -- "$file" || warn "strip failed: $file" ;;
      213c617263683e0a*) strip --enable-deterministic-archives --strip-debug -- "$file" || warn "strip failed: $file" ;;
    esac
  done < <(find "$pkg_prefix" -type f -perm -u+w -print0)
}

do_default_after() { :; }
do_default_end() { :; }

_stead_callbacks=(begin setup_environment before download verify clean unpack prepare build install build_config build_service strip after end)
for _stead_name in "${_stead_callbacks[@]}"; do
  eval "do_${_stead_name}() { do_default_${_stead_name}; }"
done

# --- variables that a plan may rely on

declare -A pkg_exports=() pkg_binds=() pkg_binds_optional=() _stead_runtime=() _stead_pushed=() _stead_hab_env=()
pkg_description=''
pkg_upstream_url=''
pkg_maintainer=''
pkg_license=()
pkg_source=''
pkg_filename=''
pkg_shasum=''
pkg_deps=()
pkg_build_deps=()
pkg_bin_dirs=()
pkg_lib_dirs=()
pkg_include_dirs=()
pkg_pconfig_dirs=()
pkg_interpreters=()
pkg_exposes=()
pkg_svc_run=''
pkg_svc_user=hab
pkg_svc_group=$pkg_svc_user
pkg_deps_resolved=()
pkg_build_deps_resolved=()
pkg_tdeps_resolved=()
pkg_build_tdeps_resolved=()
pkg_all_deps_resolved=()
pkg_all_tdeps_resolved=()
INITIAL_PATH=$PATH

# What follows from name, version and release. $1: a placeholder version that may stand in values so far.
_stead_derive() {
  local before=${1:-} name
  if [[ -z "${_stead_dirname_given:-}" ]]; then pkg_dirname=$pkg_name-$pkg_version; else pkg_dirname=${pkg_dirname//"$before"/"$pkg_version"}; fi
  if [[ -n "$before" ]]; then
    for name in pkg_source pkg_filename PATH; do printf -v "$name" '%s' "${!name//"$before"/"$pkg_version"}"; done
    for name in "${!_stead_runtime[@]}"; do _stead_runtime[$name]=${_stead_runtime[$name]//"$before"/"$pkg_version"}; done
    for name in "${!_stead_pushed[@]}"; do _stead_pushed[$name]=${_stead_pushed[$name]//"$before"/"$pkg_version"}; done
  fi
  if [[ -n "$pkg_source" && -z "$pkg_filename" ]]; then pkg_filename=$(basename "${pkg_source%%[?#]*}"); fi
  pkg_prefix=$HAB_PKG_PATH/$pkg_origin/$pkg_name/$pkg_version/$pkg_release
  pkg_artifact=$HAB_CACHE_ARTIFACT_PATH/$pkg_origin-$pkg_name-$pkg_version-$pkg_release-$pkg_target.hart
  PREFIX=$pkg_prefix
  CACHE_PATH=$HAB_CACHE_SRC_PATH/$pkg_dirname
  if [[ -n "$pkg_source" ]]; then SRC_PATH=$CACHE_PATH; else SRC_PATH=$STEAD_CONTEXT; fi
  pkg_svc_path=$HAB_ROOT_PATH/svc/$pkg_name
  pkg_svc_data_path=$pkg_svc_path/data
  pkg_svc_files_path=$pkg_svc_path/files
  pkg_svc_var_path=$pkg_svc_path/var
  pkg_svc_config_path=$pkg_svc_path/config
  pkg_svc_config_install_path=$pkg_svc_path/config_install
  pkg_svc_static_path=$pkg_svc_path/static
  prefix=$pkg_prefix
  export PREFIX prefix pkg_prefix pkg_name pkg_origin pkg_version pkg_release
}

# --- the plan, then its phases

_stead_callback() {
  _stead_phase=$1
  _stead_ask begin "$1"
  cd "$2"
  "do_$1"
  cd "$PLAN_CONTEXT"
}

cd "$PLAN_CONTEXT"
source "$_stead_plan" || exit_with "the plan could not be sourced" # as in Habitat: only its last status counts
if [[ -n "${HAB_ORIGIN:-}" ]]; then pkg_origin=$HAB_ORIGIN; fi
if [[ -z "${pkg_version:-}" ]] && declare -F pkg_version >/dev/null; then pkg_version=0.version-not-set-yet; fi
if [[ -n "${pkg_dirname:-}" ]]; then _stead_dirname_given=yes; fi
_stead_tell loaded
_stead_derive

_stead_callback begin "$PLAN_CONTEXT"
_stead_phase=resolve
_stead_tell resolve
_stead_callback setup_environment "$PLAN_CONTEXT"
_stead_callback before "$PLAN_CONTEXT"
mkdir -p "$HAB_CACHE_SRC_PATH"
_stead_callback download "$HAB_CACHE_SRC_PATH"
_stead_callback verify "$HAB_CACHE_SRC_PATH"
_stead_callback clean "$HAB_CACHE_SRC_PATH"
_stead_callback unpack "$HAB_CACHE_SRC_PATH"
_stead_phase=flags
_stead_tell flags
if [[ -d "$SRC_PATH" && -n "$pkg_source" ]]; then
  while IFS= read -r -d '' _stead_file; do
    sed -e 's/^\(eval sys_lib_.*search_path=\).*/\1/' -i "$_stead_file" # or libtool drops our run paths as the system's own
  done < <(find "$SRC_PATH" -name ltmain.sh -type f -print0)
fi
if [[ "$pkg_version" == 0.version-not-set-yet ]]; then exit_with "pkg_version() was never used: call update_pkg_version in do_before" 21; fi
mkdir -p "$SRC_PATH" 2>/dev/null || true
_stead_callback prepare "$SRC_PATH"
_stead_callback build "$SRC_PATH"
if [[ -n "${DO_CHECK:-}" ]] && declare -F do_check >/dev/null; then _stead_callback check "$SRC_PATH"; fi
_stead_phase=install
_stead_ask prefix "$pkg_prefix"
mkdir -p "$pkg_prefix"
for _stead_name in "${pkg_bin_dirs[@]}" "${pkg_lib_dirs[@]}" "${pkg_include_dirs[@]}" "${pkg_pconfig_dirs[@]}"; do
  mkdir -p "$pkg_prefix/$_stead_name"
done
_stead_callback install "$SRC_PATH"
_stead_callback build_config "$SRC_PATH"
_stead_callback build_service "$SRC_PATH"
_stead_callback strip "$SRC_PATH"
_stead_callback after "$SRC_PATH"
_stead_phase=package
cd "$PLAN_CONTEXT"
_stead_tell package
_stead_callback end "$PLAN_CONTEXT"
if declare -F do_after_success >/dev/null; then (do_after_success) || warn "do_after_success failed"; fi
_stead_ask done
