/* Intrusive doubly linked list: what wants to be pulled, what is dirty on disk. A node is in at most one list. */
#ifndef NM_CORE_BASE_LIST_H
#define NM_CORE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
/* True while the node is in some list; a node must have been list_init()ed once. */
static inline bool list_linked(const struct list *n)
{
    return n->next != n;
}
static inline void list_push_back(struct list *l, struct list *n)
{
    n->prev = l->prev;
    n->next = l;
    l->prev->next = n;
    l->prev = n;
}
static inline void list_push_front(struct list *l, struct list *n)
{
    list_push_back(l->next, n);
}
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
/* First node or NULL; stays in the list. */
static inline struct list *list_first(struct list *l)
{
    return list_empty(l) ? NULL : l->next;
}
static inline struct list *list_pop(struct list *l)
{
    struct list *n = list_first(l);
    if (n)
        list_remove(n);
    return n;
}

#endif
